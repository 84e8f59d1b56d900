/* status.h - results of calls that can fail; functions of a run return none. */
#pragma once

typedef enum cdl_status {
    CDL_OK,
    CDL_ERR_NO_MEMORY,
    CDL_ERR_PROGRAM, /* an instruction does not fit its op: a fault of the caller's lowering */
} cdl_status;

#define CDL_TRY(call)                                                                              \
    do {                                                                                           \
        cdl_status cdl_try_status_ = (call);                                                       \
        if (cdl_try_status_ != CDL_OK) return cdl_try_status_;                                     \
    } while (0)
