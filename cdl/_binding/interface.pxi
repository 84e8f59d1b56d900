# interface.pxi - csrc/cdl.h once more, as Cython has to be told it. Part of _core.pyx.

cdef extern from "cdl.h" nogil:
    ctypedef enum cdl_status:
        CDL_OK
        CDL_ERR_NO_MEMORY
        CDL_ERR_PROGRAM

    struct cdl_row:
        const char *name
        const char *params
        const char *more
        const char *table
        bint gives_gradient
        bint all_inputs
        bint effects
        bint reports
        bint loops
    enum:
        CDL_MAP_REGISTERS
        CDL_MAP_CONSTANTS
        CDL_MAP_STEPS
        CDL_MAP_ROOM_OF_LINES
        CDL_MAX_DIMS
        CDL_MAX_ARRAY_DIMS
        CDL_MAX_INPUTS
        CDL_MAX_OUTPUTS
        CDL_MAX_PARAMS
        CDL_MAX_ATTRIBUTES
        CDL_MAX_ROW_PARAMS
        CDL_MAX_SLOTS
        CDL_MAX_HYPERS
        CDL_MAX_GROUPS
    bint cdl_table_row(const char *table, int row, cdl_row *out)
    ctypedef bint c_bool "bool"  # Cython's own bint is an int, which a bool * must not point to
    const char *cdl_isa_row(int row, c_bool *runs)
    struct cdl_caches:
        size_t l1, l2, l3
    void cdl_start(const cdl_caches *caches)
    const cdl_caches *caches_found "cdl_caches"()
    const char *cdl_caches_reason()
    int cdl_threads_cores()
    int cdl_threads_available()
    enum:
        CDL_MAX_THREADS
    int cdl_threads_limit_caller(int most)
    const char *cdl_threads_reason()
    bint cdl_threads_have_openmp()
    const char *cdl_compiler()

    struct cdl_sparse:
        const char *values
        const char *columns
        c_bool wide
        size_t stored
    struct cdl_array:
        const char *data
        int dtype
        bint swapped
        int n_dims
        size_t shape[CDL_MAX_ARRAY_DIMS]
        ptrdiff_t strides[CDL_MAX_ARRAY_DIMS]
        const cdl_sparse *sparse
    int64_t cdl_check_classes(const cdl_array *array, int64_t classes)

    struct cdl_bits:
        void *state
    void cdl_shuffle(size_t n, int64_t first, int64_t *order, const cdl_bits *bits)
    struct cdl_row_orders:
        int64_t seed
        size_t discarded
    void cdl_row_orders_draw(cdl_row_orders *of, size_t n, int64_t first, int64_t *orders,
                             size_t times)

    struct cdl_param:
        float *w
    cdl_status cdl_param_create(size_t rows, size_t cols, bint matrix, cdl_param **out)
    void cdl_param_destroy(cdl_param *param)
    uint64_t cdl_param_version(const cdl_param *param)
    bint cdl_param_finite(const cdl_param *param)
    void cdl_param_get(const cdl_param *param, float *array)
    void cdl_param_set(cdl_param *param, const float *array)
    void cdl_param_clear(cdl_param *param)

    struct cdl_host_call:
        size_t rows
        bint training
        const float *x
        const float *y
        const float *dy
        float *out
    ctypedef int cdl_host_fn(void *who, const cdl_host_call *call) noexcept
    struct cdl_host:
        cdl_host_fn *call
        void *who

    struct cdl_value_def:
        int n_dims
        size_t dims[CDL_MAX_DIMS]
        int dtype
        bint shared, rounded, whole
    struct cdl_instruction_def:
        int op
        int n_in
        int n_out
        int n_params
        int inputs "in"[CDL_MAX_INPUTS]
        int out[CDL_MAX_OUTPUTS]
        cdl_param *params[CDL_MAX_PARAMS]
        int param_dtypes[CDL_MAX_PARAMS]
        int trained[CDL_MAX_PARAMS]
        const int64_t *numbers
        size_t n_numbers
        float attributes[CDL_MAX_ATTRIBUTES]
        float row_params[CDL_MAX_ROW_PARAMS]
        const double *data
        size_t n_data
        cdl_host host
    struct cdl_trained:
        cdl_param *param
        size_t outer
        size_t height
        size_t width
        int group
        float *slots[CDL_MAX_SLOTS]
        float l1
        float l2
        float *added_grad
        float decay
        int constraint
        float low
        float high
        float rate
        float *average
        float *accumulated
    struct cdl_rules:
        float clip_value
        float clip_norm
        float global_clip_norm
        double average_momentum
        int64_t overwrite_frequency
        int64_t accumulation_steps
        bint finite_only
        const cdl_param *loss_scale
    struct cdl_group_def:
        int optimizer
        double rate_factor
        double hypers[CDL_MAX_HYPERS]
    struct cdl_ranks:
        int rank
        int all
        c_bool (*join)(void *who, float *floats, size_t n, c_bool step) noexcept
        float *(*block)(void *who, size_t n) noexcept
        void *who
        bint own
        bint leaves
    struct cdl_program:
        pass
    struct cdl_program_def:
        size_t rows
        bint training
        bint predicts
        bint splits
        const char *isa
        int threads
        int lockstep
        int n_values
        int n_instructions
        int n_inputs
        int n_outputs
        int n_external_grads
        int n_trained
        const cdl_value_def *values
        const cdl_instruction_def *instructions
        const int *inputs
        const int *outputs
        const int *external_grads
        const cdl_trained *trained
        int n_groups
        cdl_group_def groups[CDL_MAX_GROUPS]
        cdl_rules rules
        cdl_program *after
        c_bool (*poll)(void *who) noexcept
        void *who
        cdl_ranks ranks
    void cdl_watch_every(double seconds)
    struct cdl_misfit:
        int instruction
        const char *op
        const char *reason
    cdl_status cdl_program_create(const cdl_program_def *definition, cdl_program **out,
                                  cdl_misfit *misfit)
    void cdl_program_destroy(cdl_program *program)
    int cdl_program_threads(const cdl_program *program)
    struct cdl_balance:
        int threads
        c_bool lockstep
        double passes
        double step
    cdl_balance cdl_program_balance(const cdl_program *program)
    size_t cdl_program_bytes(const cdl_program *program, size_t *least)
    const char *cdl_program_isa(const cdl_program *program)
    struct cdl_epoch:
        const cdl_array *arrays
        const int64_t *order
        size_t rows
        size_t batch
        size_t next
        size_t passed
        size_t skipped
        uint64_t seed
        uint64_t iteration
        uint64_t counted
        const float *rates
        size_t n_rates
        const float *shares
    void cdl_count(cdl_epoch *where, int64_t *counter)
    void cdl_run_batches(cdl_program *program, cdl_epoch *where, size_t steps, double seconds,
                         c_bool training)
    struct cdl_link:
        cdl_program *program
        cdl_epoch *epoch
        int64_t *counter
        const float *rates
        size_t n_rates
        uint64_t first
        cdl_param **gradients
        size_t n_gradients
        bint applies
        float **results
        size_t *strides
        size_t n_results
    void cdl_train_chain(const cdl_link *links, size_t n, size_t steps, double seconds)
    size_t cdl_train_epochs(cdl_program *program, cdl_epoch *where, const int64_t *orders,
                            size_t epochs, double *found)
    size_t cdl_found_doubles(const cdl_program *program)
    struct cdl_member_lanes:
        pass
    struct cdl_seed_place:
        int instruction
        int number
    struct cdl_host_params:
        cdl_param **params
        size_t n_params
        const cdl_seed_place *seeds
        size_t n_seeds
        cdl_member_lanes **lanes
        size_t n_lanes
    cdl_member_lanes *cdl_lanes_create(const cdl_program *program, const cdl_host_params *host)
    void cdl_lanes_destroy(cdl_member_lanes *lanes)
    enum cdl_member_state:
        CDL_WAITS
        CDL_IS_IN
        CDL_ENDED
    struct cdl_member:
        cdl_param **params
        float **floats
        const int64_t *seeds
        cdl_epoch epoch
        int64_t *orders
        cdl_row_orders *draws
        int64_t first
        size_t epochs
        size_t done
        double *found
        cdl_member_state state
    void cdl_train_members(cdl_program *program, const cdl_host_params *host, cdl_member **members,
                           size_t n, double seconds)
    void cdl_member_enters(const cdl_program *program, const cdl_host_params *host,
                           cdl_member *member)
    struct cdl_member_rows:
        float **stacks
        const cdl_array *array
        const int64_t *firsts
        const int64_t *rows
        size_t n
        float *output
    size_t cdl_predict_members(cdl_program *program, const cdl_host_params *host,
                               const cdl_member_rows *of, size_t done, double seconds)
    void cdl_member_leaves(const cdl_host_params *host, cdl_member *member)
    void cdl_member_is_freed(const cdl_host_params *host, const cdl_member *member)
    size_t cdl_forward(cdl_program *program, cdl_epoch *where, bint training)
    void cdl_backward(cdl_program *program, cdl_epoch *where, const float **gradients)
    bint cdl_apply(cdl_program *program, cdl_epoch *where, cdl_param **gradients)
    struct cdl_draws:
        uint64_t seed
        uint64_t call
        size_t first
    double cdl_program_work(const cdl_program *program)
    void cdl_predict(cdl_program *program, const cdl_array *arrays, size_t rows, float **outputs,
                     cdl_draws draws)
    struct cdl_found:
        int instruction
        c_bool shared
        size_t sample
        float value
        size_t limit
    bint cdl_fault(const cdl_program *program, cdl_found *found)
    size_t cdl_own_rows(const cdl_program *program, const cdl_epoch *where, size_t batch)
    int cdl_reports(const cdl_program *program)
    const double *cdl_report(const cdl_program *program, int i, size_t *doubles)
    void cdl_penalty(const cdl_program *program, double *total, double *count)
    void cdl_reset_reports(cdl_program *program)
    void cdl_read_output(const cdl_program *program, int i, size_t rows, float *to)
    void cdl_read_gradient(const cdl_program *program, int i, size_t rows, float *to)
    void cdl_read_input(const cdl_program *program, int i, size_t rows, void *to)
