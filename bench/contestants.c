/*
 * What a C programmer would write instead, one subcommand for each job.
 *
 *   mounts HOW DIR TARGET TYPE SOURCE ...   makes the mounts, then unmounts
 *       them, the last first. HOW they go:
 *         plain  by descriptor, beneath DIR: openat2, fsopen, fsconfig,
 *                fsmount, move_mount; umount2 of /proc/self/fd/DIR/TARGET
 *         exact  the same with what this project asks of the kernel besides:
 *                the mount's id, by statx, and that a bind be no peer
 *         handles  as exact, each with descriptors of its own, by which it is
 *                  found again, looked at and unmounted
 *         tree   as exact, in a detached copy of DIR, which is then closed
 *         path   mount(2) and umount2 of DIR/TARGET
 *   overlay HOW DIR LAYER ...   an overlay on DIR/merged, and umount2:
 *         exact  as above, fsconfig for each layer
 *         path   mount(2)
 *   list                      listmount, and statmount of each mount
 *   run HOW COUNT DIR INIT PROGRAM   PROGRAM in DIR as its root, with proc, sys
 *       and dev, in a PID and a mount namespace, so many at a time:
 *         first    it is the first of its PID namespace
 *         init     the first is INIT, which needs no C library
 *   run-cpu HOW ...           the same; answers with the processor time it took
 *   relative-unmount FD NAME  fchdir(FD), umount2(NAME): once, then it ends
 *
 * But for the last, each says "ready" or why not, and then for every line with
 * a number does the job so many times and answers with the nanoseconds it took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

static int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* That of this process, and of its children that it has waited for. */
static int64_t processor_time(void)
{
    int64_t microseconds = 0;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        struct rusage used;
        getrusage(who, &used);
        microseconds += used.ru_utime.tv_usec + used.ru_stime.tv_usec
            + (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL;
    }
    return microseconds * 1000;
}

static void serve_by(int64_t (*now)(void), void (*job)(void))
{
    long times;
    setvbuf(stdout, NULL, _IOLBF, 0);
    job();
    puts("ready");
    while (scanf("%ld", &times) == 1) {
        int64_t from = now();
        while (times--) job();
        printf("%lld\n", (long long)(now() - from));
    }
}

static void serve(void (*job)(void))
{
    serve_by(clock_now, job);
}

/* mounts */

static char **entries;
static int entry_count, directory;
static enum { PLAIN, EXACT, HANDLES, TREE, BY_PATH } way;

/* A mount point: its directory, and for a file what it is called there. */
struct place {
    int at, holder;
    const char *name;
};

static struct place *places;

static int open_beneath(int from, const char *path, int flags)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return check(syscall(SYS_openat2, from, path, &how, sizeof how), path);
}

static void set_propagation(int mount, uint64_t propagation)
{
    struct mount_attr attr = { .propagation = propagation };
    check(mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof attr), "mount_setattr");
}

static int clone_of(const char *source)
{
    int mount = check(open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
        source);
    if (way != PLAIN) set_propagation(mount, MS_SLAVE);
    return mount;
}

/* An fsopen(2) context that has its parameters, made a mount. */
static int create(int context)
{
    check(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig");
    int mount = check(fsmount(context, FSMOUNT_CLOEXEC, 0), "fsmount");
    close(context);
    return mount;
}

static int new_mount(const char *type, const char *source)
{
    int context = check(fsopen(type, FSOPEN_CLOEXEC), "fsopen");
    check(fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0), "fsconfig");
    return create(context);
}

/* Asks for the mount's id; says whether it is one of a file. */
static int identify(int mount)
{
    struct statx status;
    /* STATX_MNT_ID, STATX_MNT_ID_UNIQUE */
    check(statx(mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
        STATX_TYPE | 0x1000 | 0x4000, &status), "statx");
    return !S_ISDIR(status.stx_mode);
}

static struct place open_place(int root, const char *target, int is_file)
{
    const char *name = strrchr(target, '/');
    struct place place;
    if (!is_file || name == NULL) {
        place.at = place.holder = open_beneath(root, target, 0);
        place.name = NULL;
    } else {
        char parent[4096];
        snprintf(parent, sizeof parent, "%.*s", (int)(name - target), target);
        place.name = name + 1;
        place.holder = open_beneath(root, parent, O_DIRECTORY);
        place.at = open_beneath(place.holder, place.name, 0);
    }
    return place;
}

static void close_place(struct place place)
{
    if (place.at != place.holder) close(place.at);
    close(place.holder);
}

static void attach(int mount, int at)
{
    check(move_mount(mount, "", at, "",
        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), "move_mount");
    close(mount);
}

static struct place mount_beneath(int root, char **entry)
{
    int mount = strcmp(entry[1], "bind") == 0 ? clone_of(entry[2])
                                              : new_mount(entry[1], entry[2]);
    int is_file = way == PLAIN ? 0 : identify(mount);
    struct place place = open_place(root, entry[0], is_file);
    attach(mount, place.at);
    return place;
}

static void unmount_by_name(int holder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", holder, name);
    check(umount2(path, UMOUNT_NOFOLLOW), path);
}

/* Looks whether the mount is still there, and unmounts it. */
static void unmount_place(struct place place)
{
    char path[64], target[4096], name[4096 + 3];
    struct statx status;
    ssize_t length;
    snprintf(path, sizeof path, "/proc/self/fd/%d", place.holder);
    if (place.name == NULL) {
        /* Of a mount's root nothing would be looked up. */
        check(statx(place.holder, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC |
            AT_NO_AUTOMOUNT, 0, &status), "statx");
        length = readlink(path, target, sizeof target - 1);
        target[check(length, "readlink")] = 0;
        snprintf(name, sizeof name, "..%s", strrchr(target, '/'));
    }
    check(statx(place.holder, place.name == NULL ? name : place.name,
        AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
        0x1000 | 0x4000, &status), "statx");
    if (place.name == NULL) check(umount2(path, 0), path);
    else unmount_by_name(place.holder, place.name);
    close(place.holder);
}

static void mounts(void)
{
    int root = directory;
    if (way == TREE) {
        root = check(open_tree(directory, "",
            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), "open_tree");
        set_propagation(root, MS_PRIVATE);
    }
    for (int i = 0; i < entry_count; i++) {
        char **entry = entries + 3 * i;
        int bind = strcmp(entry[1], "bind") == 0;
        if (way == BY_PATH) {
            check(mount(entry[2], entry[0], bind ? NULL : entry[1],
                bind ? MS_BIND : 0, NULL), "mount");
            continue;
        }
        struct place place = mount_beneath(root, entry);
        if (way != HANDLES) close_place(place);
        else if (place.at != place.holder) close(place.at);
        places[i] = place;
    }
    if (way == TREE) {
        close(root);
        return;
    }
    for (int i = entry_count; i--;) {
        if (way == BY_PATH) check(umount2(entries[3 * i], UMOUNT_NOFOLLOW), "umount2");
        else if (way == HANDLES) unmount_place(places[i]);
        else unmount_by_name(directory, entries[3 * i]);
    }
}

static void prepare_mounts(const char *how, const char *path, char **rest, int count)
{
    way = strcmp(how, "path") == 0 ? BY_PATH
        : strcmp(how, "tree") == 0 ? TREE
        : strcmp(how, "handles") == 0 ? HANDLES
        : strcmp(how, "exact") == 0 ? EXACT : PLAIN;
    entries = rest;
    entry_count = count / 3;
    places = calloc(entry_count, sizeof *places);
    directory = check(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), path);
    for (int i = 0; way == BY_PATH && i < entry_count; i++)
        if (asprintf(&entries[3 * i], "%s/%s", path, entries[3 * i]) < 0) fail("asprintf");
}

/* overlay */

static char overlay_options[1 << 20], *overlay_target;
static char **layers, *upper, *work;
static int layer_count;

static void overlay_by_path(void)
{
    check(mount("overlay", overlay_target, "overlay", 0, overlay_options), "mount");
    check(umount2(overlay_target, UMOUNT_NOFOLLOW), "umount2");
}

static void overlay_by_descriptor(void)
{
    int context = check(fsopen("overlay", FSOPEN_CLOEXEC), "fsopen");
    for (int i = 0; i < layer_count; i++)
        check(fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", layers[i], 0), "fsconfig");
    check(fsconfig(context, FSCONFIG_SET_STRING, "upperdir", upper, 0), "fsconfig");
    check(fsconfig(context, FSCONFIG_SET_STRING, "workdir", work, 0), "fsconfig");
    int mount = create(context);
    struct place place = open_place(directory, "merged", identify(mount));
    attach(mount, place.at);
    close_place(place);
    unmount_by_name(directory, "merged");
}

static void prepare_overlay(const char *path, char **names, int count)
{
    directory = check(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), path);
    layers = names;
    layer_count = count;
    if (asprintf(&overlay_target, "%s/merged", path) < 0) fail("asprintf");
    if (asprintf(&upper, "%s/upper", path) < 0) fail("asprintf");
    if (asprintf(&work, "%s/work", path) < 0) fail("asprintf");
    size_t length = sprintf(overlay_options, "upperdir=%s,workdir=%s", upper, work);
    for (int i = 0; i < count; i++)
        length += sprintf(overlay_options + length, "%s%s",
            i == 0 ? ",lowerdir=" : ":", layers[i]);
}

/* More would be cut off without a word. */
static void check_overlay_options(void)
{
    if (strlen(overlay_options) >= (size_t)sysconf(_SC_PAGESIZE)) {
        printf("its options are longer than the page that mount(2) takes\n");
        exit(1);
    }
}

/* list */

struct request {
    uint32_t size, spare;
    uint64_t id, parameter;
};

/* SB_BASIC, MNT_BASIC, PROPAGATE_FROM, MNT_ROOT, MNT_POINT, FS_TYPE, MNT_OPTS,
   FS_SUBTYPE, SB_SOURCE: as WANTED in src/list/read.ts */
enum { PAGE = 1024, ROOT_STRINGS = 512, FIELDS = 0x3bf };

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
            struct request one = { .size = sizeof one, .id = ids[i], .parameter = FIELDS };
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

/* run */

enum { MOST_AT_ONCE = 64 };

/* A command, and the first process of its PID namespace if that is another. */
struct started {
    int init, init_fd, pipe, command;
};

static int root, init_file, own_pids, template_sys, template_dev, has_init, at_once;
/* Whether the command is put into the root by chroot(2) alone, as bb_runner does it. */
static int chroots;
static char *program;

/* Once: a /dev that nobody can write to, but for pts and shm. */
static int make_dev(void)
{
    static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };
    static const char *const links[][2] = {
        { "/proc/self/fd", "fd" }, { "/proc/self/fd/0", "stdin" },
        { "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
    };
    int dev = new_mount("tmpfs", "tmpfs");
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/%s", devices[i]);
        close(check(openat(dev, devices[i], O_CREAT | O_EXCL | O_CLOEXEC, 0666), path));
        int clone = check(open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), path);
        check(move_mount(clone, "", dev, devices[i], MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
        close(clone);
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        check(symlinkat(links[i][0], dev, links[i][1]), "symlinkat");
    check(mkdirat(dev, "pts", 0755) | mkdirat(dev, "shm", 0755), "mkdirat");
    return dev;
}

static void copy_into(int from, int to, const char *name)
{
    int copy = check(open_tree(from, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
        | AT_EMPTY_PATH | AT_RECURSIVE), "open_tree");
    check(move_mount(copy, "", to, name, MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
    close(copy);
}

static void mount_into(const char *type, int to, const char *name)
{
    int mount = new_mount(type, type);
    check(move_mount(mount, "", to, name, MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
    close(mount);
}

static int make_tree(void)
{
    int tree = check(open_tree(root, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
        | AT_EMPTY_PATH), "open_tree");
    set_propagation(tree, MS_PRIVATE);
    copy_into(template_sys, tree, "sys");
    copy_into(template_dev, tree, "dev");
    mount_into("devpts", tree, "dev/pts");
    mount_into("tmpfs", tree, "dev/shm");
    return tree;
}

static int clone_child(uint64_t flags, int *pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };
    return check(syscall(SYS_clone3, &args, sizeof args), "clone3");
}

static void enter(int tree)
{
    if (fchdir(tree) < 0 || chroot(".") < 0) _exit(126);
}

static void become(int tree)
{
    char *const argv[] = { program, NULL }, *const envp[] = { NULL };
    if (tree >= 0) {
        if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0) _exit(126);
        enter(tree);
        mount_into("proc", AT_FDCWD, "/proc");
    }
    close_range(3, ~0U, 0);
    execve(program, argv, envp);
    _exit(127);
}

static struct started start(void)
{
    struct started run = { .init = -1, .init_fd = -1, .pipe = -1 };
    int ends[2], pidfd;
    if (chroots) {
        run.command = clone_child(0, &pidfd);
        if (run.command == 0) {
            enter(root);
            become(-1);
        }
        close(pidfd);
        return run;
    }
    int tree = make_tree();
    if (!has_init) {
        run.command = clone_child(CLONE_NEWPID | CLONE_NEWNS, &pidfd);
        if (run.command == 0) become(tree);
        close(pidfd);
        close(tree);
        return run;
    }
    check(pipe2(ends, O_CLOEXEC), "pipe2");
    run.pipe = ends[1];
    run.init = clone_child(CLONE_NEWPID | CLONE_NEWNS, &run.init_fd);
    if (run.init == 0) {
        char *const none[] = { NULL };
        signal(SIGCHLD, SIG_IGN);
        if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0) _exit(126);
        enter(tree);
        mount_into("proc", AT_FDCWD, "/proc");
        dup2(ends[0], 0);
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        syscall(SYS_execveat, init_file, "", none, none, AT_EMPTY_PATH);
        _exit(127);
    }
    close(ends[0]);
    check(setns(run.init_fd, CLONE_NEWPID), "setns");
    run.command = clone_child(0, &pidfd);
    if (run.command == 0) {
        if (setns(run.init_fd, CLONE_NEWNS) < 0) _exit(126);
        enter(tree);
        become(-1);
    }
    check(setns(own_pids, CLONE_NEWPID), "setns");
    close(pidfd);
    close(tree);
    return run;
}

static void finish(struct started run)
{
    siginfo_t ended;
    check(waitid(P_PID, run.command, &ended, WEXITED), "waitid");
    if (ended.si_code != CLD_EXITED || ended.si_status != 0) {
        errno = ECHILD;
        fail(program);
    }
    if (run.init < 0) return;
    syscall(SYS_pidfd_send_signal, run.init_fd, SIGKILL, NULL, 0);
    check(waitid(P_PIDFD, run.init_fd, &ended, WEXITED), "waitid");
    close(run.init_fd);
    close(run.pipe);
}

static void run_commands(void)
{
    struct started runs[MOST_AT_ONCE];
    for (int i = 0; i < at_once; i++) runs[i] = start();
    for (int i = 0; i < at_once; i++) finish(runs[i]);
}

static void prepare_run(char **words)
{
    char bytes[1 << 16];
    has_init = strcmp(words[0], "init") == 0;
    chroots = strcmp(words[0], "chroot") == 0;
    at_once = atoi(words[1]);
    if (at_once < 1 || at_once > MOST_AT_ONCE) at_once = 1;
    root = check(open(words[2], O_PATH | O_DIRECTORY | O_CLOEXEC), words[2]);
    program = words[4];
    int source = check(open(words[3], O_RDONLY | O_CLOEXEC), words[3]);
    ssize_t size = check(read(source, bytes, sizeof bytes), "read");
    close(source);
    init_file = check(memfd_create("init", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
    check(write(init_file, bytes, size), "write");
    check(fcntl(init_file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW),
        "fcntl");
    own_pids = check(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), "/proc/self/ns/pid");
    template_sys = new_mount("sysfs", "sysfs");
    template_dev = make_dev();
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
    } else if (strcmp(job, "overlay") == 0 && argc > 4) {
        int by_path = strcmp(argv[2], "path") == 0;
        prepare_overlay(argv[3], argv + 4, argc - 4);
        if (by_path) check_overlay_options();
        serve(by_path ? overlay_by_path : overlay_by_descriptor);
    } else if (strcmp(job, "list") == 0) {
        serve(list);
    } else if (strncmp(job, "run", 3) == 0 && argc == 7) {
        prepare_run(argv + 2);
        serve_by(strcmp(job, "run") == 0 ? clock_now : processor_time, run_commands);
    } else if (strcmp(job, "relative-unmount") == 0 && argc == 4) {
        return relative_unmount(argv[2], argv[3]);
    } else {
        fprintf(stderr, "There is no job like that\n");
        return 2;
    }
    return 0;
}
