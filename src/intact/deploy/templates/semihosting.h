/* The debugger's host as files and a console: what QEMU and debug probes understand. No C library. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

static inline int32_t semihosting(int32_t operation, const void *block)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* mode 1: read binary; 5: write binary. A handle, or -1. */
static inline int32_t host_open(const char *name, int32_t mode)
{
    uint32_t length = 0;
    while (name[length] != '\0') {
        length++;
    }
    const uintptr_t block[3] = {(uintptr_t)name, (uintptr_t)mode, length};
    return semihosting(0x01, block);
}

/* The number of bytes that could not be read or written: 0 when all went well. */
static inline int32_t host_read(int32_t handle, void *to, uint32_t count)
{
    const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)to, count};
    return semihosting(0x06, block);
}

static inline int32_t host_write(int32_t handle, const void *from, uint32_t count)
{
    const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)from, count};
    return semihosting(0x05, block);
}

static inline void host_print(const char *text) { semihosting(0x04, text); }

__attribute__((noreturn)) static inline void host_exit(int32_t code)
{
    const uintptr_t block[2] = {0x20026, (uintptr_t)code};
    semihosting(0x20, block);
    for (;;) {
    }
}

#endif
