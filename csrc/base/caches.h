/* caches.h - sizes of the caches of a core of this machine. */
#pragma once

#include <stddef.h>

/* Bytes; where there is no third level, l3 is as large as l2. */
struct cdl_caches {
    size_t l1, l2, l3;
};

/* Sets the sizes: `given` unless NULL, else those from Linux (sysfs), the processor (CPUID), or a
 * guess. Called once, at import. */
void cdl_caches_init(const struct cdl_caches *given);

const struct cdl_caches *cdl_caches(void);
const char *cdl_caches_reason(void); /* who has told */
