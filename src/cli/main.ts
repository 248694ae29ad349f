process.stdout.write('iommufd-user\n')
