/* caches.c - the sizes of the caches: from sysfs, from CPUID, or given. */
#include "base/caches.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static struct cdl_caches caches = {32 << 10, 1 << 20, 8 << 20};
static const char *reason = "guessed";

/* One cache: level 1 to 3. Instruction caches are not reported. */
static void note(struct cdl_caches *found, int level, size_t bytes) {
    if (level == 1) found->l1 = bytes;
    if (level == 2) found->l2 = bytes;
    if (level == 3) found->l3 = bytes;
}

static bool read_word(int index, const char *name, char word[32]) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    const bool read = fscanf(file, "%31s", word) == 1;
    fclose(file);
    return read;
}

static void ask_linux(struct cdl_caches *found) {
    char level[32], kind[32], size[32];
    for (int i = 0; i < 8; i++) { /* some virtual machines have folders with nothing within */
        unsigned long n;
        char unit = 0;
        int number;
        if (!read_word(i, "level", level) || !read_word(i, "type", kind) ||
            !read_word(i, "size", size) || strcmp(kind, "Instruction") == 0)
            continue;
        if (sscanf(level, "%d", &number) != 1 || sscanf(size, "%lu%c", &n, &unit) < 1) continue;
        note(found, number, (size_t)n << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0));
    }
}

/* Intel describes its caches in leaf 4, AMD, in the same form, in another one. */
static void ask_processor(struct cdl_caches *found) {
#if defined(__x86_64__)
    static const unsigned leaves[] = {4, 0x8000001d};
    for (int l = 0; l < 2 && !found->l1; l++) {
        unsigned a, b, c, d;
        for (unsigned i = 0; i < 8 && __get_cpuid_count(leaves[l], i, &a, &b, &c, &d); i++) {
            const unsigned kind = a & 31, level = a >> 5 & 7;
            if (kind == 0) break;
            if (kind == 2) continue; /* of instructions */
            note(found, (int)level,
                 (size_t)((b >> 22) + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) *
                     ((size_t)c + 1));
        }
    }
#endif
}

void cdl_caches_init(const struct cdl_caches *given) {
    struct cdl_caches found = {0, 0, 0};
    const char *who = "told by Linux";
    if (given) {
        caches = *given;
        reason = "CDL_CACHE";
        return;
    }
    ask_linux(&found);
    if (!found.l1 || !found.l2) {
        found = (struct cdl_caches){0, 0, 0};
        ask_processor(&found);
        who = "told by the processor";
    }
    if (!found.l1 || !found.l2) return;
    if (found.l3 < found.l2) found.l3 = found.l2;
    caches = found;
    reason = who;
}

const struct cdl_caches *cdl_caches(void) { return &caches; }
const char *cdl_caches_reason(void) { return reason; }
