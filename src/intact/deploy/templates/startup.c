/* From reset to main on any Cortex-M: vectors, data, bss; the stack is painted so that its depth can be read afterwards. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t stack_top[], stack_limit[], data_start[], data_end[], data_load[], bss_start[], bss_end[];
int main(void);
void *memset(void *to, int value, size_t count);
void *memcpy(void *to, const void *from, size_t count);
void reset(void);
void fault(void);
void tick(void);

/* Compilers may call these whatever is written, and there is no library here. */
__attribute__((weak)) void *memset(void *to, int value, size_t count)
{
    for (char *at = to; count > 0; count--) {
        *at++ = (char)value;
    }
    return to;
}

__attribute__((weak)) void *memcpy(void *to, const void *from, size_t count)
{
    const char *x = from;
    for (char *at = to; count > 0; count--) {
        *at++ = *x++;
    }
    return to;
}

/* SysTick has 24 bits: the turns that it has made. */
volatile uint32_t turns;

void tick(void) { turns++; }

__attribute__((noreturn)) void reset(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* coprocessors 10 and 11: floating point and vectors */
    __asm__ volatile("dsb\n\tisb");
#endif
    uint32_t *to = data_start;
    for (const uint32_t *from = data_load; to < data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *word = bss_start; word < bss_end;) {
        *word++ = 0;
    }
    for (uint32_t *word = stack_limit; word < (uint32_t *)__builtin_frame_address(0) - 16;) {
        *word++ = 0xC0DEC0DE;
    }
    main();
    for (;;) {
    }
}

__attribute__((noreturn)) void fault(void)
{
    for (;;) {
        __asm__ volatile("bkpt 0");
    }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, tick,
};
