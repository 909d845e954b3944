/*
 * What a C programmer would write instead, one subcommand for each job.
 *
 *   mounts HOW DIR TARGET TYPE SOURCE ...   makes the mounts, then unmounts
 *       them, the last first. HOW they go:
 *         plain  by descriptor, beneath DIR: openat2, fsopen, fsconfig,
 *                fsmount, move_mount; umount2 of /proc/self/fd/DIR/TARGET
 *         exact  the same with what mountat() of this project asks the kernel
 *                for besides: the mount's id, by statx
 *         path   mount(2) and umount2 of DIR/TARGET
 *   overlay DIR LAYER ...     mount(2) of an overlay on DIR/merged, umount2
 *   list                      listmount, and statmount of each mount
 *   relative-unmount FD NAME  fchdir(FD), umount2(NAME): once, then it ends
 *
 * But for the last, each says "ready" or why not, and then for every line with
 * a number does the job so many times and answers with the nanoseconds it took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_statmount
#define SYS_statmount 457
#define SYS_listmount 458
#endif

static void fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static int check(int result, const char *what)
{
    if (result < 0) fail(what);
    return result;
}

static void serve(void (*job)(void))
{
    long times;
    setvbuf(stdout, NULL, _IOLBF, 0);
    job();
    puts("ready");
    while (scanf("%ld", &times) == 1) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        while (times--) job();
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%lld\n", (to.tv_sec - from.tv_sec) * 1000000000LL
            + to.tv_nsec - from.tv_nsec);
    }
}

/* mounts */

static char **entries;
static int entry_count, directory, exact, by_path;

static int open_beneath(const char *path, int flags)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return check(syscall(SYS_openat2, directory, path, &how, sizeof how), "openat2");
}

static void mount_by_descriptor(const char *target, const char *type, const char *source)
{
    int mount, at;
    if (strcmp(type, "bind") == 0) {
        mount = check(open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
            "open_tree");
    } else {
        int fs = check(fsopen(type, FSOPEN_CLOEXEC), "fsopen");
        check(fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0), "fsconfig");
        check(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig");
        mount = check(fsmount(fs, FSMOUNT_CLOEXEC, 0), "fsmount");
        close(fs);
    }
    if (exact) {
        struct statx status;
        /* STATX_MNT_ID, STATX_MNT_ID_UNIQUE */
        check(statx(mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
            STATX_TYPE | 0x1000 | 0x4000, &status), "statx");
    }
    at = open_beneath(target, 0);
    check(move_mount(mount, "", at, "",
        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), "move_mount");
    close(mount);
    close(at);
}

static void unmount_by_descriptor(const char *target)
{
    char path[4096];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory, target);
    check(umount2(path, UMOUNT_NOFOLLOW), "umount2");
}

static void mounts(void)
{
    for (int i = 0; i < entry_count; i++) {
        char **entry = entries + 3 * i;
        int bind = strcmp(entry[1], "bind") == 0;
        if (!by_path) mount_by_descriptor(entry[0], entry[1], entry[2]);
        else check(mount(entry[2], entry[0], bind ? NULL : entry[1],
            bind ? MS_BIND : 0, NULL), "mount");
    }
    for (int i = entry_count; i--;) {
        if (!by_path) unmount_by_descriptor(entries[3 * i]);
        else check(umount2(entries[3 * i], UMOUNT_NOFOLLOW), "umount2");
    }
}

static void prepare_mounts(const char *how, const char *path, char **rest, int count)
{
    exact = strcmp(how, "exact") == 0;
    by_path = strcmp(how, "path") == 0;
    entries = rest;
    entry_count = count / 3;
    directory = check(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), path);
    for (int i = 0; by_path && i < entry_count; i++)
        if (asprintf(&entries[3 * i], "%s/%s", path, entries[3 * i]) < 0) fail("asprintf");
}

/* overlay */

static char overlay_options[1 << 20], *overlay_target;

static void overlay(void)
{
    check(mount("overlay", overlay_target, "overlay", 0, overlay_options), "mount");
    check(umount2(overlay_target, UMOUNT_NOFOLLOW), "umount2");
}

static void prepare_overlay(const char *path, char **layers, int count)
{
    size_t length = sprintf(overlay_options, "upperdir=%s/upper,workdir=%s/work", path, path);
    for (int i = 0; i < count; i++)
        length += sprintf(overlay_options + length, "%s%s",
            i == 0 ? ",lowerdir=" : ":", layers[i]);
    /* More would be cut off without a word. */
    if (length >= (size_t)sysconf(_SC_PAGESIZE)) {
        printf("its options are longer than the page that mount(2) takes\n");
        exit(1);
    }
    if (asprintf(&overlay_target, "%s/merged", path) < 0) fail("asprintf");
}

/* list */

struct request {
    uint32_t size, spare;
    uint64_t id, parameter;
};

enum { PAGE = 1024, ROOT_STRINGS = 512 };

static uint64_t sum;

static void list(void)
{
    static uint64_t ids[PAGE];
    static char answer[1 << 16];
    uint32_t fields[ROOT_STRINGS / 4];
    struct request next = { .size = sizeof next, .id = UINT64_MAX /* LSMT_ROOT */ };
    long count;
    do {
        count = syscall(SYS_listmount, &next, ids, PAGE, 0);
        check(count, "listmount");
        for (long i = 0; i < count; i++) {
            /* SB_BASIC, MNT_BASIC, MNT_ROOT, MNT_POINT, FS_TYPE, MNT_OPTS,
               FS_SUBTYPE, SB_SOURCE */
            struct request one = { .size = sizeof one, .id = ids[i], .parameter = 0x3bb };
            check(syscall(SYS_statmount, &one, answer, sizeof answer, 0), "statmount");
            /* All of it is looked at, as one would to print it. */
            memcpy(fields, answer, sizeof fields);
            const char *end = answer + fields[0];
            for (const char *s = answer + ROOT_STRINGS; s < end; s += strlen(s) + 1)
                sum += strlen(s);
        }
        if (count > 0) next.parameter = ids[count - 1];
    } while (count == PAGE);
}

static int relative_unmount(const char *fd, const char *name)
{
    if (fchdir(atoi(fd)) < 0) return perror("fchdir"), 1;
    if (umount2(name, 0) < 0) return perror("umount2"), 1;
    return 0;
}

int main(int argc, char **argv)
{
    const char *job = argc > 1 ? argv[1] : "";
    if (strcmp(job, "mounts") == 0 && argc > 6) {
        prepare_mounts(argv[2], argv[3], argv + 4, argc - 4);
        serve(mounts);
    } else if (strcmp(job, "overlay") == 0 && argc > 3) {
        prepare_overlay(argv[2], argv + 3, argc - 3);
        serve(overlay);
    } else if (strcmp(job, "list") == 0) {
        serve(list);
    } else if (strcmp(job, "relative-unmount") == 0 && argc == 4) {
        return relative_unmount(argv[2], argv[3]);
    } else {
        fprintf(stderr, "There is no job like that\n");
        return 2;
    }
    return 0;
}
