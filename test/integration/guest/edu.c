/*
 * Runs in a guest: drives edu through its files in /sys, as a user-space driver does.
 *
 *     edu DIRECTORY [UIO]
 *
 * DIRECTORY is the function's in /sys; UIO the node of uio_pci_generic, where interrupts are waited for.
 * Each step prints a line; one that fails ends it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    IDENTIFICATION = 0x00,
    LIVENESS = 0x04,
    FACTORIAL = 0x08,
    STATUS = 0x20,
    INTERRUPT_STATUS = 0x24,
    RAISE = 0x60,
    ACKNOWLEDGE = 0x64,
    SOURCE = 0x80,
    DESTINATION = 0x88,
    COUNT = 0x90,
    COMMAND = 0x98,
};
enum { START = 1, TO_MEMORY = 2 };
enum { PAGE = 4096, BUFFER = 0x40000, LENGTH = 2048, BAR_SIZE = 1 << 20 };
enum { PCI_COMMAND = 4, PCI_MEMORY = 2, PCI_MASTER = 4, PCI_INTX_DISABLE = 0x400 };

static void expect(int holds, const char *what)
{
    printf("edu: %s: %s\n", what, holds ? "ok" : "WRONG");
    if (!holds)
        exit(1);
}

static int opened(const char *directory, const char *name, int flags)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, flags);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static uint64_t physical(const void *page)
{
    uint64_t entry = 0;
    int fd = opened("/proc/self", "pagemap", O_RDONLY);
    off_t at = (uintptr_t)page / PAGE * sizeof entry;
    if (pread(fd, &entry, sizeof entry, at) != sizeof entry || !(entry >> 63))
        expect(0, "the page has a physical address");
    close(fd);
    return (entry & ((1ULL << 55) - 1)) * PAGE;
}

static volatile uint8_t *bar;

static uint32_t get(int at) { return *(volatile uint32_t *)(bar + at); }
static void set(int at, uint32_t value) { *(volatile uint32_t *)(bar + at) = value; }

static void transfer(uint64_t source, uint64_t destination, uint32_t count, uint32_t command)
{
    *(volatile uint64_t *)(bar + SOURCE) = source;
    *(volatile uint64_t *)(bar + DESTINATION) = destination;
    set(COUNT, count);
    set(COMMAND, command | START);
    while (get(COMMAND) & START)
        usleep(1000);
}

static void command_bits(int config, uint16_t set_bits, uint16_t cleared)
{
    uint16_t command = 0;
    if (pread(config, &command, 2, PCI_COMMAND) != 2)
        expect(0, "reading the command register");
    command = (command | set_bits) & ~cleared;
    if (pwrite(config, &command, 2, PCI_COMMAND) != 2)
        expect(0, "writing the command register");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int config = opened(argv[1], "config", O_RDWR);
    command_bits(config, PCI_MEMORY | PCI_MASTER, 0);
    bar = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, opened(argv[1], "resource0", O_RDWR), 0);
    expect(bar != MAP_FAILED, "mapping the BAR");
    expect(get(IDENTIFICATION) == 0x010000ed, "identification");
    set(LIVENESS, 0x12345678);
    expect(get(LIVENESS) == ~0x12345678u, "liveness");

    set(FACTORIAL, 10);
    while (get(STATUS) & 1)
        usleep(1000);
    expect(get(FACTORIAL) == 3628800, "factorial");

    uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    expect(pages != MAP_FAILED && mlock(pages, 2 * PAGE) == 0, "memory");
    for (int i = 0; i < LENGTH; i++)
        pages[i] = i * 7 + (i >> 8);
    memset(pages + PAGE, 0, PAGE);
    transfer(physical(pages), BUFFER, LENGTH, 0);
    transfer(BUFFER, physical(pages + PAGE), LENGTH, TO_MEMORY);
    expect(memcmp(pages, pages + PAGE, LENGTH) == 0, "DMA");

    if (argc > 2) {
        int uio = open(argv[2], O_RDWR);
        expect(uio >= 0, "opening the interrupt's node");
        for (uint32_t i = 1; i <= 3; i++) {
            uint32_t count = 0;
            command_bits(config, 0, PCI_INTX_DISABLE);
            set(RAISE, i);
            expect(read(uio, &count, sizeof count) == sizeof count, "interrupt");
            expect(get(INTERRUPT_STATUS) == i, "its status");
            set(ACKNOWLEDGE, i);
        }
    }
    puts("edu: all is well");
    return 0;
}
