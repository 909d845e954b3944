/*
 * Tells what a command may do, and what it shares with the host: a line a fact.
 *
 *   probe                  the facts
 *   probe with COMMAND...  executes a command with a session keyring of its own
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <net/if.h>

#define KEY_SPEC_SESSION_KEYRING -3

static const char *said(int result) {
  return result == -1 ? strerrorname_np(errno) : "done";
}

static long keyring(void) {
  return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
}

/* Opens, and does nothing with it. */
static const char *opened(const char *path, int flags) {
  int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
  const char *result = said(fd);
  if (fd != -1) close(fd);
  return result;
}

/* Whether a file says anything, or a directory has anything in it. */
static const char *shows(const char *path) {
  char byte;
  DIR *directory = opendir(path);
  if (directory != NULL) {
    int names = 0;
    while (readdir(directory) != NULL) names++;
    closedir(directory);
    return names > 2 ? "shown" : "empty";
  }
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  if (fd == -1) return said(fd);
  ssize_t count = read(fd, &byte, 1);
  close(fd);
  return count == 1 ? "shown" : "empty";
}

static void tellNamespaces(const char *prefix) {
  static const char *const names[] = {"cgroup", "ipc",  "mnt",  "net",
                                      "pid",    "time", "user", "uts"};
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    char path[32], target[64];
    snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
    ssize_t length = readlink(path, target, sizeof(target));
    printf("%s%s %.*s\n", prefix, names[i], length < 0 ? 0 : (int)length, target);
  }
}

static void tellCapabilities(const char *prefix) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct sets[2];
  int effective = 0;
  syscall(SYS_capget, &header, sets);
  for (int i = 0; i < 64; i++) effective += sets[i / 32].effective >> i % 32 & 1;
  printf("%scapabilities %d\n", prefix, effective);
}

static const char *access_of(const char *path) {
  struct statvfs found;
  if (statvfs(path, &found) == -1) return said(-1);
  return found.f_flag & ST_RDONLY ? "read-only" : "writable";
}

/* What a command can do about a mount that forbids writing. */
static void remount(const char *path) {
  mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL);
}

int main(int count, char **words) {
  if (count > 2) {
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    tellNamespaces("host ");
    printf("host keyring %ld\n", keyring());
    tellCapabilities("host ");
    fflush(stdout);
    execvp(words[2], words + 2);
    return 127;
  }
  printf("number %d\n", getpid());
  tellNamespaces("");
  printf("keyring %ld\n", keyring());
  printf("no_new_privs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  printf("seccomp %d\n", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
  tellCapabilities("");

  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  ioctl(fd, SIOCGIFFLAGS, &request);
  printf("loopback %s\n", request.ifr_flags & IFF_UP ? "up" : "down");

  int made = mknod("/made", S_IFCHR | 0600, makedev(1, 11));
  printf("device %s\n", made == -1 ? said(-1) : opened("/made", O_RDONLY));
  unlink("/made");
  made = mknod("/dev/made", S_IFCHR | 0600, makedev(1, 11));
  printf("in dev %s\n", made == -1 ? said(-1) : opened("/dev/made", O_RDONLY));
  printf("null %s\n", opened("/dev/null", O_RDWR));
  remount("/proc/sys");
  umount2("/proc/sys", MNT_DETACH);
  printf("sysctl %s\n", access_of("/proc/sys"));
  umount2("/proc/keys", MNT_DETACH);
  printf("keys %s\n", shows("/proc/keys"));
  umount2("/sys/firmware", MNT_DETACH);
  printf("firmware %s\n", shows("/sys/firmware"));
  remount("/sys");
  printf("sys %s\n", access_of("/sys"));
  printf("read-only %s\n", opened("/src/file", O_WRONLY));
  remount("/src");
  printf("read-only, remounted %s\n", opened("/src/file", O_WRONLY));
  printf("host name %s\n", said(sethostname("mountat-probe", 13)));
  return 0;
}
