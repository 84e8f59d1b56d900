/* old_glibc.h - lets a core compiled beside a new glibc run on one of 2.28.
 *
 * Included ahead of each file by tools/wheel/build.py. These functions have a newer version in a newer
 * glibc, and the linker would take that one. The old versions compute the same: pow, exp, log and fmod
 * only set errno in other ways, and the C23 readers of numbers also know 0b101. A line whose function a
 * file does not call does nothing. auditwheel tells which function is missing here. */
#ifdef __x86_64__
#define FIRST "GLIBC_2.2.5"
#define C99 "GLIBC_2.7"
#else
#define FIRST "GLIBC_2.17"
#define C99 "GLIBC_2.17"
#endif
#define TAKE(name, old) __asm__(".symver " #name "," old)

TAKE(pow, "pow@" FIRST);
TAKE(exp, "exp@" FIRST);
TAKE(log, "log@" FIRST);
TAKE(fmod, "fmod@" FIRST);
TAKE(fmodf, "fmodf@" FIRST);
TAKE(__isoc23_strtol, "strtol@" FIRST);
TAKE(__isoc23_strtoul, "strtoul@" FIRST);
TAKE(__isoc23_sscanf, "__isoc99_sscanf@" C99);
TAKE(__isoc23_fscanf, "__isoc99_fscanf@" C99);
/* These have moved from libpthread, which every Python of an older glibc has loaded. */
TAKE(pthread_attr_setstacksize, "pthread_attr_setstacksize@" FIRST);
TAKE(pthread_create, "pthread_create@" FIRST);
TAKE(pthread_join, "pthread_join@" FIRST);
TAKE(pthread_key_create, "pthread_key_create@" FIRST);
TAKE(pthread_once, "pthread_once@" FIRST);
TAKE(pthread_setspecific, "pthread_setspecific@" FIRST);
TAKE(pthread_sigmask, "pthread_sigmask@" FIRST);
#undef TAKE
#undef C99
#undef FIRST
