/* What the cases need and neither Deno nor the common tools offer. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* <linux/nsfs.h>, since Linux 6.11. */
#ifndef NS_GET_MNTNS_ID
#define NS_GET_MNTNS_ID _IOR(0xb7, 0x5, uint64_t)
#endif

/* The kernel's include/linux/statfs.h, since Linux 5.10. */
#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000
#endif

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* Prints the names of a file system's flags. */
static int print_flags(const char *path)
{
	static const struct {
		unsigned long bit;
		const char *name;
	} flags[] = {
		{ ST_RDONLY, "ST_RDONLY" },
		{ ST_NOSUID, "ST_NOSUID" },
		{ ST_NODEV, "ST_NODEV" },
		{ ST_NOEXEC, "ST_NOEXEC" },
		{ ST_NOATIME, "ST_NOATIME" },
		{ ST_NODIRATIME, "ST_NODIRATIME" },
		{ ST_RELATIME, "ST_RELATIME" },
		{ ST_NOSYMFOLLOW, "ST_NOSYMFOLLOW" },
	};
	struct statvfs found;

	if (statvfs(path, &found) == -1)
		return fail("statvfs");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (found.f_flag & flags[i].bit)
			puts(flags[i].name);
	}
	return 0;
}

/* Prints the id of the mount namespace. */
static int print_namespace_id(void)
{
	uint64_t id;
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return fail("open");
	if (ioctl(fd, NS_GET_MNTNS_ID, &id) == -1)
		return fail("ioctl");
	printf("%llu\n", (unsigned long long)id);
	return 0;
}

/* Writes to an inherited descriptor. */
static int write_to(int fd, const char *text)
{
	size_t length = strlen(text);

	return write(fd, text, length) == (ssize_t)length ? 0 : fail("write");
}

/*
 * Runs a command, and changes its root directory once it says on its standard
 * output that it is ready; the end of its standard input tells it of that. So
 * a program can be in a directory that does not have what it takes to start it.
 */
static int run_then_chroot(const char *root, char *const command[])
{
	int ready[2], go[2], status;
	char byte;

	if (pipe2(ready, O_CLOEXEC) == -1 || pipe2(go, O_CLOEXEC) == -1)
		return fail("pipe2");
	/* With CLONE_FS the two processes have one root directory. */
	long pid = syscall(SYS_clone, CLONE_FS | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == -1)
		return fail("clone");
	if (pid == 0) {
		dup2(go[0], STDIN_FILENO);
		dup2(ready[1], STDOUT_FILENO);
		execvp(command[0], command);
		_exit(fail(command[0]));
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		if (chroot(root) == -1 || chdir("/") == -1) {
			kill(pid, SIGKILL);
			fail("chroot");
		}
		close(go[1]);
	}
	if (waitpid(pid, &status, 0) == -1)
		return fail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char *argv[])
{
	if (argc == 3 && strcmp(argv[1], "statvfs") == 0)
		return print_flags(argv[2]);
	if (argc == 2 && strcmp(argv[1], "namespace-id") == 0)
		return print_namespace_id();
	if (argc == 4 && strcmp(argv[1], "write") == 0)
		return write_to(atoi(argv[2]), argv[3]);
	if (argc >= 4 && strcmp(argv[1], "chroot") == 0)
		return run_then_chroot(argv[2], argv + 3);
	fputs("usage: helper statvfs|namespace-id|write|chroot ...\n", stderr);
	return 2;
}
