#!/usr/bin/env python3
"""Plays a conformance script: one system call a line, one line of transcript for each.

conformance/SCRIPT.md describes the language; client.c speaks it too. Only the standard library is
used: `ctypes` makes the calls and reaches the memory they name.
"""
import ctypes
import errno
import os
import select
import signal
import stat
import struct
import sys

CASE_SECONDS = 60
MAX_PROCESSES = 8

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
for name in ("read", "write"):
    getattr(libc, name).restype = ctypes.c_ssize_t
    getattr(libc, name).argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
for name in ("pread", "pwrite"):
    getattr(libc, name).restype = ctypes.c_ssize_t
    getattr(libc, name).argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]

MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_HUGETLB = 1, 2, 0x10, 0x20, 0x40000
MADV_DONTNEED, MADV_NOHUGEPAGE = 4, 15
MAP_FAILED = ctypes.c_void_p(-1).value


def slot(word):
    """Descriptors live at fixed numbers, so that a script can put them into structures."""
    return 100 + int(word, 0)


def called(value):
    """What a C library call returned: the value, or -errno."""
    return -ctypes.get_errno() if value == -1 else value


def system(call, *arguments):
    """What a Python call returned: the value (None is 0), or -errno."""
    try:
        return call(*arguments) or 0
    except OSError as error:
        return -error.errno


def protection(word):
    return ("r" in word) | ("w" in word) << 1 | ("x" in word) << 2


def take(fd, to):
    """Moves descriptor `fd` to the number `to`."""
    if fd < 0:
        return fd
    if fd != to:
        os.dup2(fd, to, inheritable=False)
        os.close(fd)
    return 0


class Interpreter:
    def __init__(self):
        self.processes = {}
        self.current = 0
        self.last_return = 0

    def say(self, line):
        sys.stdout.write(line + "\n")

    def execute(self, line):
        word = line.split()
        if not word or word[0].startswith("#"):
            return
        if word[0] == "in":
            self.current = int(word[1])
        elif self.current:
            self.forward(line)
        else:
            answer = getattr(self, "do_" + word[0])(*word[1:])
            if isinstance(answer, str):
                self.say(answer)
            elif answer is not None:
                self.say(f"= {answer}")

    def do_ioctl(self, s, request, argument):
        self.last_return = called(libc.ioctl(slot(s), int(request, 0), int(argument, 0)))
        return self.last_return

    def do_poke(self, address, text=""):
        data = bytes.fromhex(text)
        ctypes.memmove(int(address, 0), data, len(data))

    def do_peek(self, address, length):
        return ": " + ctypes.string_at(int(address, 0), int(length, 0)).hex()

    def do_fill(self, address, length, byte):
        ctypes.memset(int(address, 0), int(byte, 0), int(length, 0))

    def do_open(self, s, path, flags):
        return take(system(os.open, path, int(flags, 0) | os.O_CLOEXEC), slot(s))

    def do_close(self, s):
        return system(os.close, slot(s))

    def do_dup(self, s, t):
        return min(system(os.dup2, slot(s), slot(t), False), 0)

    def do_takefd(self, s, address):
        where = ctypes.c_int.from_address(int(address, 0))
        if where.value < 0:
            return -errno.EBADF
        answer = take(where.value, slot(s))
        if answer == 0:
            where.value = slot(s)
        return answer

    def do_takereturn(self, s):
        return take(self.last_return, slot(s)) if self.last_return >= 0 else -errno.EBADF

    def do_mmap(self, address, length, prot, kind):
        flags = MAP_SHARED if kind == "shared" else MAP_PRIVATE
        huge = MAP_HUGETLB if kind == "huge" else 0
        at = libc.mmap(int(address, 0), int(length, 0), protection(prot), flags | MAP_ANONYMOUS | MAP_FIXED | huge, -1, 0)
        if at == MAP_FAILED:
            return called(-1)
        if not huge:
            libc.madvise(int(address, 0), int(length, 0), MADV_NOHUGEPAGE)
        return 0

    def do_mapfd(self, address, length, prot, kind, s, offset):
        flags = MAP_SHARED if kind == "shared" else MAP_PRIVATE
        address = int(address, 0)
        at = libc.mmap(address, int(length, 0), protection(prot), flags | (MAP_FIXED if address else 0), slot(s), int(offset, 0))
        return called(-1) if at == MAP_FAILED else 0

    def do_munmap(self, address, length):
        return called(libc.munmap(int(address, 0), int(length, 0)))

    def do_mprotect(self, address, length, prot):
        return called(libc.mprotect(int(address, 0), int(length, 0), protection(prot)))

    def do_discard(self, address, length):
        return called(libc.madvise(int(address, 0), int(length, 0), MADV_DONTNEED))

    def do_memfd(self, s, size):
        fd = os.memfd_create("conformance")
        os.ftruncate(fd, int(size, 0))
        return take(fd, slot(s))

    def do_ftruncate(self, s, size):
        return system(os.ftruncate, slot(s), int(size, 0))

    def do_blocks(self, s):
        return system(lambda: os.fstat(slot(s)).st_blocks)

    def do_read(self, s, address, length):
        return called(libc.read(slot(s), int(address, 0), int(length, 0)))

    def do_write(self, s, address, length):
        return called(libc.write(slot(s), int(address, 0), int(length, 0)))

    def do_pread(self, s, address, length, offset):
        return called(libc.pread(slot(s), int(address, 0), int(length, 0), int(offset, 0)))

    def do_pwrite(self, s, address, length, offset):
        return called(libc.pwrite(slot(s), int(address, 0), int(length, 0), int(offset, 0)))

    def do_lseek(self, s, offset, whence):
        return system(os.lseek, slot(s), int(offset, 0), int(whence, 0))

    def do_fsync(self, s):
        return system(os.fsync, slot(s))

    def do_poll(self, s, events):
        poll = select.poll()
        poll.register(slot(s), int(events, 0))
        ready = poll.poll(0)
        return ready[0][1] if ready else 0

    def do_epoll(self, s):
        with select.epoll() as epoll:
            return system(epoll.register, slot(s), select.EPOLLIN)

    def do_fstat(self, s):
        def describe():
            s_ = os.fstat(slot(s))
            if stat.S_ISCHR(s_.st_mode):
                return f"= character major {os.major(s_.st_rdev)}"
            return f"= {'regular' if stat.S_ISREG(s_.st_mode) else 'other'} major 0"

        return system(describe)

    def do_rlimit(self, limit):
        import resource

        limit = int(limit, 0)
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        if hard != resource.RLIM_INFINITY:
            hard = max(hard, limit)
        return system(resource.setrlimit, resource.RLIMIT_MEMLOCK, (limit, hard))

    def do_dropcap(self, bit):
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        data = (ctypes.c_uint32 * 6)()
        if libc.capget(header, data):
            return called(-1)
        bit = int(bit, 0)
        data[3 * (bit // 32)] &= ~(1 << (bit % 32)) & 0xFFFFFFFF
        return called(libc.capset(header, data))

    def do_locked(self):
        with open("/proc/self/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return f"= pinned {lines['VmPin'].split()[0]} locked {lines['VmLck'].split()[0]}"

    def do_fork(self, number):
        down, up = os.pipe(), os.pipe()
        ends = []
        for fd in (*down, *up):
            import fcntl

            ends.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 500))
            os.close(fd)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(ends[1])
            os.close(ends[2])
            self.processes, self.current = {}, 0
            with os.fdopen(ends[0], "r") as lines:
                for line in lines:
                    self.execute(line)
                    sys.stdout.flush()
                    os.write(ends[3], b"\0")
            os._exit(0)
        os.close(ends[0])
        os.close(ends[3])
        self.processes[int(number)] = (pid, ends[1], ends[2])
        return 0

    def forward(self, line):
        _, to, answered = self.processes[self.current]
        sys.stdout.flush()
        os.write(to, (line + "\n").encode())
        if os.read(answered, 1) != b"\0":
            self.say(f"process {self.current} died")

    def end(self, number, signal_number):
        pid, to, answered = self.processes.pop(int(number))
        if signal_number:
            os.kill(pid, signal_number)
        os.close(to)
        os.close(answered)
        status = os.waitpid(pid, 0)[1]
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def do_exit(self, number):
        return self.end(number, 0)

    def do_kill(self, number):
        return self.end(number, signal.SIGKILL)


def play_case(title, lines):
    print(title, flush=True)
    pid = os.fork()
    if pid == 0:
        signal.alarm(CASE_SECONDS)
        interpreter = Interpreter()
        for line in lines:
            interpreter.execute(line)
        for child, *_ in interpreter.processes.values():
            os.kill(child, signal.SIGKILL)
        sys.stdout.flush()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        print(f"killed by signal {os.WTERMSIG(status)}", flush=True)
    elif os.WEXITSTATUS(status):
        print(f"exit status {os.WEXITSTATUS(status)}", flush=True)


def main():
    with open(sys.argv[1]) as file:
        cases = []
        for line in file.read().split("\n"):
            if line.startswith("case "):
                cases.append((line, []))
            elif cases:
                cases[-1][1].append(line)
    for title, lines in cases:
        play_case(title, lines)


if __name__ == "__main__":
    main()
