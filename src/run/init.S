/*
 * The first process of a command's PID namespace. It is given tables of system
 * calls, makes them one after another, and so mounts what the command sees and
 * starts it; then it waits. Its memory holds nothing but this and a table.
 *
 * It starts with a socket as descriptor 3, of SOCK_SEQPACKET, and with all
 * signals blocked. Each message to it is the length of a table, eight bytes, with
 * descriptors, which become the lowest numbers that are free: the first message's
 * first three 0, 1 and 2. The next, which becomes 4, is a file with that table,
 * and closed once it is mapped; those after it are 5, 6 ... The table is mapped at
 * BASE. Its entries have eight words: a number, six arguments, and where the
 * result is to be put, as 32 bits. The number is in the low 32 bits of its word,
 * and a system call's or
 *
 *   -1   here the table ends: another one comes
 *   -2   clone(2) with the flags of the first argument, as vfork(2) does it: the
 *        child goes on with the next entry, and this process waits
 *   -3   from here on the socket is the descriptor of the first argument
 *
 * If a call fails, the errno and the entry's distance from BASE are written to the
 * socket, 32 bits each. Then the process ends, unless the high bits of the word with
 * the call's number are set. It also ends if a call of its own fails. In place of
 * the distance, it then writes the negative number of that step, one of those
 * below. If that can't be written, it exits with the errno.
 *
 * Once it waits, each message to it is a process and a signal, 32 bits each, as for
 * kill(2), except that 0 is the command. It waits for every child that it has or is
 * given. When the command has ended, it writes how to the socket: 8 bytes of
 * status, and a struct rusage. Then it ends; it also ends when the other end of the
 * socket is closed. The kernel then kills everything in its PID namespace. If it has
 * no PID namespace of its own, it kills its process group; the command is in that
 * group if a table made it. In a PID namespace of its own, this kills nobody: while
 * it waits, it is alone in a process group.
 *
 * The bytes in init.ts are its section of text, headers and all, and a test makes
 * them again:
 *
 *   cc -nostdlib -static -Wl,-Ttext=0x400000,--build-id=none -o init init.S
 *   objcopy -O binary -j .text init init.bin
 */

#define BASE 0x10000000
#define FRAME 2048

/* The frame while a table is waited for. */
#define MESSAGE 0 /* struct msghdr */
#define VECTOR 64 /* struct iovec */
#define LENGTH 80
#define CONTROL 256
#define CONTROL_SIZE 1040 /* SCM_MAX_FD descriptors */

/* The frame while the command runs. */
#define POLLED 0 /* struct pollfd of signalfd(2), and of the socket */
#define ORDER 16
#define SIGNALS 24
#define ENDED 32
#define ENDED_SIZE 152
#define SIGINFO 256

#define SOCKET 3
#define TABLE 4

/* Its own steps: OWN_STEPS in table.ts. */
#define CLOSE_STREAMS 1
#define CLOSE_OTHERS 2
#define RECEIVE 3
#define MAP 4
#define CLOSE_TABLE 5
#define LEAVE_GROUP 6
#define GO_TO_ROOT 7
#define WATCH 8
#define WAIT 9
#define READ_ORDER 10
#define REAP 11

        .text
        .globl _start
        /* Elf64_Ehdr, elf(5) */
header: .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
        .quad 0
        .short 2 /* ET_EXEC */
#if defined __x86_64__
        .short 62 /* EM_X86_64 */
#elif defined __aarch64__
        .short 183 /* EM_AARCH64 */
#endif
        .long 1
        .quad _start
        .quad segment - header, 0
        .long 0
        .short 64, 56, 1, 0, 0, 0
        /* Elf64_Phdr */
segment:
        .long 1, 5 /* PT_LOAD, PF_R | PF_X */
        .quad 0, header, header, end - header, end - header, 0x10000

#if defined __x86_64__
        .intel_syntax noprefix
        .macro must step
        mov     ecx, -\step
        cmp     rax, -4095
        jae     broken
        .endm

_start: sub     rsp, FRAME
        mov     r12d, SOCKET
        call    close_all

receive:
        xor     eax, eax
        mov     rdi, rsp
        mov     ecx, 8
        rep stosq
        lea     rax, [rsp + VECTOR]
        mov     [rsp + MESSAGE + 16], rax /* msg_iov */
        inc     dword ptr [rsp + MESSAGE + 24] /* msg_iovlen */
        lea     rax, [rsp + CONTROL]
        mov     [rsp + MESSAGE + 32], rax /* msg_control */
        mov     dword ptr [rsp + MESSAGE + 40], CONTROL_SIZE
        lea     rax, [rsp + LENGTH]
        mov     [rsp + VECTOR], rax
        mov     qword ptr [rsp + VECTOR + 8], 8
        mov     edi, SOCKET
        mov     rsi, rsp
        mov     edx, 0x40000000 /* MSG_CMSG_CLOEXEC */
        mov     eax, 47 /* recvmsg */
        syscall
        must    RECEIVE
        cmp     eax, 8
        jne     exit
        mov     edi, BASE
        mov     rsi, [rsp + LENGTH]
        mov     edx, 3 /* PROT_READ | PROT_WRITE */
        mov     r10d, 0x12 /* MAP_PRIVATE | MAP_FIXED */
        mov     r8d, TABLE
        xor     r9d, r9d
        mov     eax, 9 /* mmap */
        syscall
        must    MAP
        mov     edi, TABLE
        mov     eax, 3 /* close */
        syscall
        must    CLOSE_TABLE
        mov     ebx, BASE

next:   mov     eax, [rbx]
        test    eax, eax
        js      special
        mov     rdi, [rbx + 8]
        mov     rsi, [rbx + 16]
        mov     rdx, [rbx + 24]
        mov     r10, [rbx + 32]
        mov     r8, [rbx + 40]
        mov     r9, [rbx + 48]
        syscall
        cmp     rax, -4095
        jae     failed
        mov     rcx, [rbx + 56]
        mov     [rcx], eax
after:  add     rbx, 64
        jmp     next

special:
        inc     eax
        jz      receive
        inc     eax
        jz      part
        mov     r12d, [rbx + 8]
        jmp     after

part:   mov     rdi, [rbx + 8]
        xor     esi, esi /* The stack is the child's, too, until it goes on. */
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, 56 /* clone */
        syscall
        cmp     rax, -4095
        jae     failed
        test    eax, eax
        jz      after
        mov     ebp, eax

        xor     edi, edi
        xor     esi, esi
        mov     eax, 109 /* setpgid */
        syscall
        must    LEAVE_GROUP
        /* What the command has open is for that to close. */
        call    close_all
        lea     rdi, [rip + root]
        mov     eax, 80 /* chdir */
        syscall
        must    GO_TO_ROOT
        mov     qword ptr [rsp + SIGNALS], 0x10000 /* SIGCHLD */
        mov     edi, -1
        lea     rsi, [rsp + SIGNALS]
        mov     edx, 8
        xor     r10d, r10d
        mov     eax, 289 /* signalfd4: it becomes 0 */
        syscall
        must    WATCH
        mov     rax, 0x100000000 /* POLLIN */
        mov     [rsp + POLLED], rax
        mov     al, SOCKET
        mov     [rsp + POLLED + 8], rax

wait:   mov     rdi, rsp
        mov     esi, 2
        xor     edx, edx
        xor     r10d, r10d
        mov     eax, 271 /* ppoll */
        syscall
        cmp     eax, -4 /* EINTR */
        je      wait
        must    WAIT
        cmp     byte ptr [rsp + POLLED + 14], 0
        je      children
        mov     edi, SOCKET
        lea     rsi, [rsp + ORDER]
        mov     edx, 8
        xor     eax, eax /* read */
        syscall
        cmp     eax, -104 /* ECONNRESET: closed, with something unread */
        je      leave
        must    READ_ORDER
        cmp     eax, 8
        jne     leave
        mov     edi, [rsp + ORDER]
        test    edi, edi
        cmovz   edi, ebp
        mov     esi, [rsp + ORDER + 4]
        mov     eax, 62 /* kill */
        syscall

children:
        cmp     byte ptr [rsp + POLLED + 6], 0
        je      wait
        xor     edi, edi
        lea     rsi, [rsp + SIGINFO]
        mov     edx, 128
        xor     eax, eax /* read */
        syscall
reap:   mov     rdi, -1
        lea     rsi, [rsp + ENDED]
        mov     edx, 0x40000001 /* __WALL | WNOHANG */
        lea     r10, [rsp + ENDED + 8]
        mov     eax, 61 /* wait4 */
        syscall
        must    REAP
        test    eax, eax
        jz      wait
        cmp     eax, ebp
        jne     reap
        lea     rsi, [rsp + ENDED]
        mov     edx, ENDED_SIZE
        call    write
        jmp     leave

failed: lea     ecx, [rbx - BASE]
        call    tell
        cmp     dword ptr [rbx + 4], 0
        jne     after
        /* The child that fails to become the command ends alone. */
        jmp     exit

broken: call    tell
        jmp     exit

leave:  xor     edi, edi
        mov     esi, 9 /* SIGKILL */
        mov     eax, 62 /* kill */
        syscall
exit:   xor     edi, edi
exit_with:
        mov     eax, 231 /* exit_group */
        syscall

        /* The frame begins above the address that it returns to. */
tell:   neg     eax
        mov     [rsp + 8], eax
        mov     [rsp + 12], ecx
        lea     rsi, [rsp + 8]
        mov     edx, 8
write:  mov     edi, r12d
        mov     eax, 1 /* write */
        syscall
        mov     edi, eax
        neg     edi
        cmp     rax, -4095
        jae     exit_with
        ret

        /* All but the socket. */
close_all:
        xor     edi, edi
        mov     esi, SOCKET - 1
        xor     edx, edx
        mov     eax, 436 /* close_range */
        syscall
        must    CLOSE_STREAMS
        mov     edi, SOCKET + 1
        mov     esi, -1
        mov     eax, 436 /* close_range */
        syscall
        must    CLOSE_OTHERS
        ret

#elif defined __aarch64__
        .macro must step
        mov     w9, -\step
        cmn     x0, 4095
        b.hs    broken
        .endm

_start: sub     sp, sp, FRAME
        mov     w21, SOCKET
        bl      close_all

receive:
        stp     xzr, xzr, [sp, MESSAGE]
        add     x0, sp, VECTOR
        mov     x1, 1
        stp     x0, x1, [sp, MESSAGE + 16] /* msg_iov, msg_iovlen */
        add     x0, sp, CONTROL
        mov     x1, CONTROL_SIZE
        stp     x0, x1, [sp, MESSAGE + 32] /* msg_control, msg_controllen */
        str     xzr, [sp, MESSAGE + 48]
        add     x0, sp, LENGTH
        mov     x1, 8
        stp     x0, x1, [sp, VECTOR]
        mov     x0, SOCKET
        mov     x1, sp
        mov     x2, 0x40000000 /* MSG_CMSG_CLOEXEC */
        mov     x8, 212 /* recvmsg */
        svc     0
        must    RECEIVE
        cmp     x0, 8
        b.ne    exit
        mov     x0, BASE
        ldr     x1, [sp, LENGTH]
        mov     x2, 3 /* PROT_READ | PROT_WRITE */
        mov     x3, 0x12 /* MAP_PRIVATE | MAP_FIXED */
        mov     x4, TABLE
        mov     x5, 0
        mov     x8, 222 /* mmap */
        svc     0
        must    MAP
        mov     x0, TABLE
        mov     x8, 57 /* close */
        svc     0
        must    CLOSE_TABLE
        mov     x19, BASE

next:   ldp     x8, x0, [x19]
        tbnz    w8, 31, special
        mov     w8, w8
        ldp     x1, x2, [x19, 16]
        ldp     x3, x4, [x19, 32]
        ldp     x5, x9, [x19, 48]
        svc     0
        cmn     x0, 4095
        b.hs    failed
        str     w0, [x9]
after:  add     x19, x19, 64
        b       next

special:
        cmn     w8, 1
        b.eq    receive
        cmn     w8, 2
        b.eq    part
        mov     w21, w0
        b       after

part:   mov     x1, 0 /* The stack is the child's, too, until it goes on. */
        mov     x2, 0
        mov     x3, 0
        mov     x4, 0
        mov     x8, 220 /* clone */
        svc     0
        cmn     x0, 4095
        b.hs    failed
        cbz     x0, after
        mov     w20, w0

        mov     x0, 0
        mov     x1, 0
        mov     x8, 154 /* setpgid */
        svc     0
        must    LEAVE_GROUP
        /* What the command has open is for that to close. */
        bl      close_all
        adr     x0, root
        mov     x8, 49 /* chdir */
        svc     0
        must    GO_TO_ROOT
        mov     x0, 0x10000 /* SIGCHLD */
        str     x0, [sp, SIGNALS]
        mov     x0, -1
        add     x1, sp, SIGNALS
        mov     x2, 8
        mov     x3, 0
        mov     x8, 74 /* signalfd4: it becomes 0 */
        svc     0
        must    WATCH
        mov     x0, 0x100000000 /* POLLIN */
        add     x1, x0, SOCKET
        stp     x0, x1, [sp, POLLED]

wait:   mov     x0, sp
        mov     x1, 2
        mov     x2, 0
        mov     x3, 0
        mov     x8, 73 /* ppoll */
        svc     0
        cmn     w0, 4 /* EINTR */
        b.eq    wait
        must    WAIT
        ldrh    w0, [sp, POLLED + 14]
        cbz     w0, children
        mov     x0, SOCKET
        add     x1, sp, ORDER
        mov     x2, 8
        mov     x8, 63 /* read */
        svc     0
        cmn     w0, 104 /* ECONNRESET: closed, with something unread */
        b.eq    leave
        must    READ_ORDER
        cmp     x0, 8
        b.ne    leave
        ldp     w0, w1, [sp, ORDER]
        cmp     w0, 0
        csel    w0, w20, w0, eq
        mov     x8, 129 /* kill */
        svc     0

children:
        ldrh    w0, [sp, POLLED + 6]
        cbz     w0, wait
        mov     x0, 0
        add     x1, sp, SIGINFO
        mov     x2, 128
        mov     x8, 63 /* read */
        svc     0
reap:   mov     x0, -1
        add     x1, sp, ENDED
        mov     w2, 1 /* WNOHANG */
        movk    w2, 0x4000, lsl 16 /* __WALL */
        add     x3, sp, ENDED + 8
        mov     x8, 260 /* wait4 */
        svc     0
        must    REAP
        cbz     w0, wait
        cmp     w0, w20
        b.ne    reap
        add     x1, sp, ENDED
        mov     x2, ENDED_SIZE
        bl      write
        b       leave

failed: mov     x9, BASE
        sub     w9, w19, w9
        bl      tell
        ldr     w0, [x19, 4]
        cbnz    w0, after
        /* The child that fails to become the command ends alone. */
        b       exit

broken: bl      tell
        b       exit

leave:  mov     x0, 0
        mov     x1, 9 /* SIGKILL */
        mov     x8, 129 /* kill */
        svc     0
exit:   mov     x0, 0
exit_with:
        mov     x8, 94 /* exit_group */
        svc     0

tell:   neg     w0, w0
        stp     w0, w9, [sp]
        mov     x1, sp
        mov     x2, 8
write:  mov     w0, w21
        mov     x8, 64 /* write */
        svc     0
        cmn     x0, 4095
        neg     x0, x0
        b.hs    exit_with
        ret

        /* All but the socket. */
close_all:
        mov     x0, 0
        mov     x1, SOCKET - 1
        mov     x2, 0
        mov     x8, 436 /* close_range */
        svc     0
        must    CLOSE_STREAMS
        mov     x0, SOCKET + 1
        mov     w1, -1
        svc     0
        must    CLOSE_OTHERS
        ret
#endif

root:   .asciz  "/"
end:
