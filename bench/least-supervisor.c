/*
 * The floor: the least that any seccomp supervisor has to do for one ioctl. Take the notification, read
 * the argument's structure from the client, write it back, answer 0. No objects, no checks, no decoding.
 *
 *	least-supervisor PROGRAM [ARG...]
 *
 * open("/dev/iommu") gives a memfd; every other open goes on as if nothing had happened. Exits with the
 * program's status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)

/* The type byte of every iommufd and VFIO request is ';'. */
#define TYPE_MASK 0xff00
#define TYPE 0x3b00

#define NODE "/dev/iommu"
/* Bytes of the commonest structures, IOMMU_IOAS_MAP's among them. */
#define STRUCT_BYTES 40

static void fail(const char *what)
{
	fprintf(stderr, "least-supervisor: %s: %s\n", what, strerror(errno));
	exit(125);
}

static int install_filter(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		IF_EQUAL(__NR_openat, 4, 0),
		IF_EQUAL(__NR_ioctl, 0, 4),
		LOAD(args[1]),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TYPE_MASK),
		IF_EQUAL(TYPE, 0, 1),
		RETURN(SECCOMP_RET_USER_NOTIF),
		RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("no_new_privs");
	return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_descriptor(int over, int descriptor)
{
	union control control = { 0 };
	struct iovec nothing = { "", 1 };
	struct msghdr message = { .msg_iov = &nothing, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
	if (sendmsg(over, &message, 0) < 0)
		fail("passing the listener");
}

static int receive_descriptor(int over)
{
	union control control;
	char byte;
	int descriptor;
	struct iovec nothing = { &byte, 1 };
	struct msghdr message = { .msg_iov = &nothing, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };

	if (recvmsg(over, &message, MSG_CMSG_CLOEXEC) <= 0 || !CMSG_FIRSTHDR(&message))
		fail("receiving the listener");
	memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return descriptor;
}

static int names_node(const struct seccomp_notif *call)
{
	char path[sizeof(NODE)] = "";
	struct iovec here = { path, sizeof(path) };
	struct iovec there = { (void *)(uintptr_t)call->data.args[1], sizeof(path) };

	return process_vm_readv(call->pid, &here, 1, &there, 1, 0) == sizeof(path) &&
	       !memcmp(path, NODE, sizeof(path));
}

/* Gives the client a descriptor as the result of its open. */
static void answer_open(int listener, const struct seccomp_notif *call)
{
	int file = memfd_create("least-supervisor", MFD_CLOEXEC);
	struct seccomp_notif_addfd give = { .id = call->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = file };

	ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
	close(file);
}

/* One read and one write of the client's memory. */
static int answer_ioctl(const struct seccomp_notif *call)
{
	char bytes[STRUCT_BYTES];
	struct iovec here = { bytes, sizeof(bytes) };
	struct iovec there = { (void *)(uintptr_t)call->data.args[2], sizeof(bytes) };

	if (process_vm_readv(call->pid, &here, 1, &there, 1, 0) != sizeof(bytes) ||
	    process_vm_writev(call->pid, &here, 1, &there, 1, 0) != sizeof(bytes))
		return -EFAULT;
	return 0;
}

static void serve(int listener)
{
	struct pollfd ready = { listener, POLLIN, 0 };
	struct seccomp_notif call;

	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	for (;;) {
		struct seccomp_notif_resp answer = { 0 };

		memset(&call, 0, sizeof(call));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
			/* ENOENT: the client was interrupted; or nobody is left under the filter. */
			if (errno != EINTR && errno != ENOENT)
				fail("receiving a notification");
			if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLHUP))
				return;
			continue;
		}
		answer.id = call.id;
		if (call.data.nr == __NR_ioctl) {
			answer.error = answer_ioctl(&call);
		} else if (names_node(&call)) {
			answer_open(listener, &call);
			continue;
		} else {
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		}
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

int main(int argc, char **argv)
{
	int pair[2], status;
	pid_t client;

	if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return 125;
	client = fork();
	if (client == 0) {
		int listener = install_filter();

		if (listener < 0)
			fail("installing the filter");
		send_descriptor(pair[1], listener);
		close(listener);
		execvp(argv[1], argv + 1);
		fail(argv[1]);
	}
	close(pair[1]);
	serve(receive_descriptor(pair[0]));
	if (waitpid(client, &status, 0) != client)
		fail("waiting for the program");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
