/*
 * Plays a conformance script: one system call a line, one line of transcript for each.
 * conformance/SCRIPT.md describes the language; client.py speaks it too.
 *
 *   client SCRIPT            plays SCRIPT and prints the transcript on standard output
 *
 * As process 1 of a machine that was booted only for this (no shell, no libraries: link it
 * statically) it mounts what a program expects, runs the command in /job (one argument a line),
 * writes the command's output to the block device /dev/nvme0n1 and powers the machine off.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Descriptors live at fixed numbers, so that a script can put them into structures. */
#define SLOT(n) (100 + (int)(n))
#define MAX_WORDS 10
#define MAX_PROCESSES 8
#define CASE_SECONDS 60

static char *script;
static size_t script_length, position;

/* The processes that `fork` made: we send them lines; they answer a byte when done. */
static struct {
  pid_t pid;
  int to, from;
} processes[MAX_PROCESSES];
static int current_process;
static long last_return;

static void fail(const char *what) {
  perror(what);
  exit(3);
}

static char *next_line(void) {
  if (position >= script_length) return NULL;
  char *line = script + position;
  char *end = memchr(line, '\n', script_length - position);
  if (!end) end = script + script_length;
  *end = 0;
  position = (size_t)(end - script) + 1;
  return line;
}

static uint64_t number(const char *word) {
  if (!word) { fprintf(stderr, "a number is missing\n"); exit(3); }
  return word[0] == '-' ? (uint64_t)strtoll(word, NULL, 0) : strtoull(word, NULL, 0);
}

/* Every result is one line: `= value` or `= -errno`. */
static void result(long value) {
  if (value == -1) value = -errno;
  printf("= %ld\n", value);
}

static void print_bytes(const unsigned char *bytes, size_t length) {
  static const char digits[] = "0123456789abcdef";
  putchar_unlocked(':');
  putchar_unlocked(' ');
  for (size_t i = 0; i < length; i++) {
    putchar_unlocked(digits[bytes[i] >> 4]);
    putchar_unlocked(digits[bytes[i] & 15]);
  }
  putchar_unlocked('\n');
}

static int nibble(int c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static int protection(const char *word) {
  int bits = PROT_NONE;
  if (strchr(word, 'r')) bits |= PROT_READ;
  if (strchr(word, 'w')) bits |= PROT_WRITE;
  if (strchr(word, 'x')) bits |= PROT_EXEC;
  return bits;
}

/* Moves descriptor `fd` to slot `slot`. */
static long take(int fd, int slot) {
  if (fd < 0) return -1;
  if (fd == slot) return 0;
  if (dup3(fd, slot, O_CLOEXEC) < 0) return -1;
  close(fd);
  return 0;
}

static void serve(int in, int out);

static void fork_process(int id) {
  int down[2], up[2];
  if (id <= 0 || id >= MAX_PROCESSES || processes[id].pid) { printf("= -22\n"); return; }
  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) fail("pipe");
  int to = fcntl(down[1], F_DUPFD_CLOEXEC, 500), from = fcntl(up[0], F_DUPFD_CLOEXEC, 500);
  int in = fcntl(down[0], F_DUPFD_CLOEXEC, 500), out = fcntl(up[1], F_DUPFD_CLOEXEC, 500);
  close(down[0]); close(down[1]); close(up[0]); close(up[1]);
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    close(to);
    close(from);
    memset(processes, 0, sizeof processes);
    current_process = 0;
    serve(in, out);
    exit(0);
  }
  close(in);
  close(out);
  processes[id].pid = pid;
  processes[id].to = to;
  processes[id].from = from;
  printf("= 0\n");
}

static void end_process(int id, int signal_number) {
  if (id <= 0 || id >= MAX_PROCESSES || !processes[id].pid) { printf("= -3\n"); return; }
  int status;
  if (signal_number) kill(processes[id].pid, signal_number);
  close(processes[id].to);
  close(processes[id].from);
  waitpid(processes[id].pid, &status, 0);
  memset(&processes[id], 0, sizeof processes[id]);
  printf("= %d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* Has process `id` execute the line; its transcript goes to our standard output. */
static void forward(int id, const char *line) {
  char done;
  fflush(stdout);
  dprintf(processes[id].to, "%s\n", line);
  if (read(processes[id].from, &done, 1) != 1) printf("process %d died\n", id);
}

static void drop_capability(unsigned bit) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data)) { result(-1); return; }
  data[bit / 32].effective &= ~(1u << (bit % 32));
  result(syscall(SYS_capset, &header, data));
}

/* VmPin and VmLck of this process, in kB. */
static void print_locked(void) {
  char line[256];
  long pinned = -1, locked = -1;
  FILE *status = fopen("/proc/self/status", "re");
  if (!status) { result(-1); return; }
  while (fgets(line, sizeof line, status)) {
    sscanf(line, "VmPin: %ld", &pinned);
    sscanf(line, "VmLck: %ld", &locked);
  }
  fclose(status);
  printf("= pinned %ld locked %ld\n", pinned, locked);
}

static void print_stat(int fd) {
  struct stat s;
  if (fstat(fd, &s)) { result(-1); return; }
  printf("= %s major %u\n", S_ISCHR(s.st_mode) ? "character" : S_ISREG(s.st_mode) ? "regular" : "other",
         S_ISCHR(s.st_mode) ? major(s.st_rdev) : 0);
}

static void execute(char *line) {
  char *word[MAX_WORDS + 1] = {0};
  int words = 0;
  char copy[256];
  if (current_process && strncmp(line, "in ", 3)) {
    forward(current_process, line);
    return;
  }
  snprintf(copy, sizeof copy, "%s", line);
  for (char *p = strtok(line, " "); p && words < MAX_WORDS; p = strtok(NULL, " ")) word[words++] = p;
  if (!words || word[0][0] == '#') return;
#define IS(name) (!strcmp(word[0], name))
#define N(i) number(word[i])
#define P(i) ((void *)(uintptr_t)number(word[i]))
  if (IS("ioctl")) {
    last_return = ioctl(SLOT(N(1)), N(2), N(3));
    result(last_return);
  } else if (IS("poke")) {
    unsigned char *to = P(1);
    if (!word[2]) return;
    for (const char *h = word[2]; h[0] && h[1]; h += 2) *to++ = (unsigned char)(nibble(h[0]) << 4 | nibble(h[1]));
  } else if (IS("peek")) {
    print_bytes(P(1), N(2));
  } else if (IS("fill")) {
    memset(P(1), (int)N(3), N(2));
  } else if (IS("open")) {
    int fd = open(word[2], (int)N(3) | O_CLOEXEC);
    result(take(fd, SLOT(N(1))));
  } else if (IS("close")) {
    result(close(SLOT(N(1))));
  } else if (IS("dup")) {
    result(dup2(SLOT(N(1)), SLOT(N(2))) < 0 ? -1 : 0);
  } else if (IS("takefd")) {
    int fd;
    memcpy(&fd, P(2), 4);
    errno = EBADF;
    long r = take(fd, SLOT(N(1)));
    int slot = SLOT(N(1));
    if (r == 0) memcpy(P(2), &slot, 4);
    result(r);
  } else if (IS("takereturn")) {
    errno = EBADF;
    result(take((int)last_return, SLOT(N(1))));
  } else if (IS("mmap")) {
    int huge = !strcmp(word[4], "huge"), flags = !strcmp(word[4], "shared") ? MAP_SHARED : MAP_PRIVATE;
    void *p = mmap(P(1), N(2), protection(word[3]), flags | MAP_ANONYMOUS | MAP_FIXED | (huge ? MAP_HUGETLB : 0), -1, 0);
    result(p == MAP_FAILED ? -1 : 0);
    if (p != MAP_FAILED && !huge) madvise(p, N(2), MADV_NOHUGEPAGE);
  } else if (IS("mapfd")) {
    int flags = !strcmp(word[4], "shared") ? MAP_SHARED : MAP_PRIVATE;
    uintptr_t at = N(1);
    void *p = mmap((void *)at, N(2), protection(word[3]), flags | (at ? MAP_FIXED : 0), SLOT(N(5)), (off_t)N(6));
    result(p == MAP_FAILED ? -1 : 0);
  } else if (IS("munmap")) {
    result(munmap(P(1), N(2)));
  } else if (IS("mprotect")) {
    result(mprotect(P(1), N(2), protection(word[3])));
  } else if (IS("discard")) {
    result(madvise(P(1), N(2), MADV_DONTNEED));
  } else if (IS("memfd")) {
    int fd = memfd_create("conformance", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, (off_t)N(2))) fail("ftruncate");
    result(take(fd, SLOT(N(1))));
  } else if (IS("ftruncate")) {
    result(ftruncate(SLOT(N(1)), (off_t)N(2)));
  } else if (IS("blocks")) {
    struct stat s;
    if (fstat(SLOT(N(1)), &s)) result(-1);
    else result(s.st_blocks);
  } else if (IS("read")) {
    result(read(SLOT(N(1)), P(2), N(3)));
  } else if (IS("write")) {
    result(write(SLOT(N(1)), P(2), N(3)));
  } else if (IS("pread")) {
    result(pread(SLOT(N(1)), P(2), N(3), (off_t)N(4)));
  } else if (IS("pwrite")) {
    result(pwrite(SLOT(N(1)), P(2), N(3), (off_t)N(4)));
  } else if (IS("lseek")) {
    result(lseek(SLOT(N(1)), (off_t)N(2), (int)N(3)));
  } else if (IS("fsync")) {
    result(fsync(SLOT(N(1))));
  } else if (IS("poll")) {
    struct pollfd p = {.fd = SLOT(N(1)), .events = (short)N(2)};
    result(poll(&p, 1, 0) < 0 ? -1 : p.revents);
  } else if (IS("epoll")) {
    int e = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    long r = epoll_ctl(e, EPOLL_CTL_ADD, SLOT(N(1)), &event);
    result(r);
    close(e);
  } else if (IS("fstat")) {
    print_stat(SLOT(N(1)));
  } else if (IS("rlimit")) {
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    limit.rlim_cur = N(1);
    if (limit.rlim_max < limit.rlim_cur) limit.rlim_max = limit.rlim_cur;
    result(setrlimit(RLIMIT_MEMLOCK, &limit));
  } else if (IS("dropcap")) {
    drop_capability((unsigned)N(1));
  } else if (IS("locked")) {
    print_locked();
  } else if (IS("fork")) {
    fork_process((int)N(1));
  } else if (IS("in")) {
    current_process = (int)N(1);
  } else if (IS("exit")) {
    end_process((int)N(1), 0);
  } else if (IS("kill")) {
    end_process((int)N(1), SIGKILL);
  } else {
    fprintf(stderr, "unknown command: %s\n", copy);
    exit(3);
  }
}

/* A forked process: lines come from `in`; after each a byte goes to `out`. */
static void serve(int in, int out) {
  FILE *lines = fdopen(in, "r");
  char *line = NULL;
  size_t size = 0;
  ssize_t length;
  while ((length = getline(&line, &size, lines)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    execute(line);
    fflush(stdout);
    if (write(out, "", 1) != 1) exit(3);
  }
}

static void play_case(const char *title) {
  printf("%s\n", title);
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    alarm(CASE_SECONDS);
    for (char *line; position < script_length && strncmp(script + position, "case ", 5) && (line = next_line());) execute(line);
    for (int id = 1; id < MAX_PROCESSES; id++)
      if (processes[id].pid) kill(processes[id].pid, SIGKILL);
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) printf("killed by signal %d\n", WTERMSIG(status));
  else if (WEXITSTATUS(status)) printf("exit status %d\n", WEXITSTATUS(status));
  fflush(stdout);
  /* Skip what the child has played. */
  while (position < script_length && strncmp(script + position, "case ", 5)) next_line();
}

static int play(const char *path) {
  static char buffer[1 << 20];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat s;
  if (fd < 0 || fstat(fd, &s)) fail(path);
  script_length = (size_t)s.st_size;
  script = malloc(script_length + 1);
  for (size_t got = 0; got < script_length;) {
    ssize_t n = read(fd, script + got, script_length - got);
    if (n <= 0) fail(path);
    got += (size_t)n;
  }
  script[script_length] = 0;
  close(fd);
  for (char *line; (line = next_line());)
    if (!strncmp(line, "case ", 5)) play_case(line);
  return 0;
}

/* ---- process 1 of a machine booted for one job ---- */

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd >= 0) {
    if (write(fd, text, strlen(text)) < 0) perror(path);
    close(fd);
  }
}

/* Each line of /vfio-devices is the address of a PCI device that vfio-pci is to drive. */
static void give_devices_to_vfio(void) {
  char line[64], path[128];
  FILE *list = fopen("/vfio-devices", "r");
  while (list && fgets(line, sizeof line, list)) {
    line[strcspn(line, "\n")] = 0;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver_override", line);
    put(path, "vfio-pci");
    put("/sys/bus/pci/drivers_probe", line);
  }
  if (list) fclose(list);
}

static int as_init(void) {
  mkdir("/proc", 0755); mkdir("/sys", 0755); mkdir("/dev", 0755); mkdir("/tmp", 01777);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sys", "/sys", "sysfs", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  mount("debug", "/sys/kernel/debug", "debugfs", 0, NULL);
  mount("tmp", "/tmp", "tmpfs", 0, NULL);
  mkdir("/dev/hugepages", 0755);
  mount("none", "/dev/hugepages", "hugetlbfs", 0, NULL);
  put("/proc/sys/vm/nr_hugepages", "128");
  give_devices_to_vfio();
  struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);

  char job[4096], *arguments[64];
  int fd = open("/job", O_RDONLY), count = 0;
  ssize_t length = fd < 0 ? -1 : read(fd, job, sizeof job - 1);
  int disk = open("/dev/nvme0n1", O_WRONLY);
  if (length > 0 && disk >= 0) {
    job[length] = 0;
    for (char *a = strtok(job, "\n"); a && count < 63; a = strtok(NULL, "\n")) arguments[count++] = a;
    arguments[count] = NULL;
    pid_t pid = fork();
    if (pid == 0) {
      dup2(disk, 1);
      dup2(disk, 2);
      int null = open("/dev/null", O_RDONLY);
      dup2(null, 0);
      close(disk);
      close(fd);
      close(null);
      execv(arguments[0], arguments);
      _exit(127);
    }
    int status = 0;
    pid_t ended;
    while ((ended = wait(&status)) != pid && ended > 0) {}
    dprintf(disk, "@@exit %d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    fsync(disk);
  }
  reboot(RB_POWER_OFF);
  return 1;
}

int main(int argc, char **argv) {
  if (getpid() == 1) return as_init();
  if (argc != 2) {
    fprintf(stderr, "usage: client SCRIPT\n");
    return 2;
  }
  return play(argv[1]);
}
