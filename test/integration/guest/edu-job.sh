# Finds edu among the guest's PCI devices and drives it, interrupts included.
for device in /sys/bus/pci/devices/*; do
  if [ "$(cat "$device/vendor" "$device/device" | tr '\n' ' ')" = '0x1234 0x11e8 ' ]; then found=$device; fi
done
[ -n "$found" ] || { echo 'there is no edu'; ls /sys/bus/pci/devices; exit 1; }
echo "edu: class $(cat "$found/class"), $(head -n 1 "$found/resource")"
echo 1234 11e8 >/sys/bus/pci/drivers/uio_pci_generic/new_id
/edu "$found" /dev/uio0
