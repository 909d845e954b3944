/* Ends at once and needs no C library: a root with nothing in it can run it. */
void _start(void)
{
#if defined __x86_64__
    __asm__ volatile("syscall" : : "a"(231), "D"(0)); /* exit_group(0) */
#elif defined __aarch64__
    register long status __asm__("x0") = 0, call __asm__("x8") = 94;
    __asm__ volatile("svc 0" : : "r"(status), "r"(call));
#endif
    __builtin_unreachable();
}
