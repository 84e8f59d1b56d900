# definition.pxi - a Program as the core wants it described. Part of _core.pyx.

cdef dict _defined(program):
    """The values by id; ValueError unless each is given once, and before it is read."""
    given = {id(v): v for v in program.inputs}
    for k, i in enumerate(program.instructions):
        if len(i.inputs) > CDL_MAX_INPUTS or len(i.outputs) > CDL_MAX_OUTPUTS:
            most = f"{CDL_MAX_INPUTS} inputs and {CDL_MAX_OUTPUTS} outputs"
            raise ValueError(f"instruction {k}: expected at most {most}: {i!r}")
        if not i.outputs and not (i.op in OPS and (OPS[i.op].effects or i.op == "loop")):
            raise ValueError(f"instruction {k}: expected an output: {i!r}")
        for v in i.inputs:
            if id(v) not in given:
                raise ValueError(f"instruction {k}: nothing before it gives {v!r}: {i!r}")
        for v in i.outputs:
            if id(v) in given:
                raise ValueError(f"instruction {k}: {v!r} is given a second time: {i!r}")
            given[id(v)] = v
    for v in [*program.outputs, *program.external_grads]:
        if id(v) not in given:
            raise ValueError(f"nothing gives output {v!r}")
    there = {id(i) for i in program.instructions} if program.reports else ()
    for i in program.reports:
        if id(i) not in there:
            raise ValueError(f"report {i!r} is no instruction of the program")
    return given


cdef size_t _joined(program):
    """Number of samples of a batch whose values the program joins; 0 for none."""
    for i in program.instructions:
        if i.op in ("join_batch", "split_batch"):
            return (i.outputs if i.op == "join_batch" else i.inputs)[0].shape[0]
    return 0


cdef _check_gradients(program):
    """ValueError where a value gets a gradient more than once: a fork must stand between."""
    given = {id(v): 0 for i in program.instructions for v in i.outputs}
    for v in [*program.external_grads, *(i.inputs[k] for i, k in program.producers())]:
        if id(v) in given:
            given[id(v)] += 1
            if given[id(v)] > 1:
                raise ValueError(f"{v!r} has two readers that give it a gradient")


cdef list _groups(optimizer):
    """(row, hyper-parameters, slots by variable) of each group of variables that learn alike."""
    return optimizer if isinstance(optimizer, list) else [optimizer] if optimizer else []


cdef float *_slot(str name, Parameter slot, Parameter weight) except? NULL:
    """The memory of a slot: one element for each of a weight, or for each row or column."""
    if name not in ("row", "column"):
        return _beside(slot, weight)
    *outer, width = weight.shape
    wanted = tuple(outer if name == "row" else outer[:len(outer) - 1] + [width])
    if slot.matrix or slot.shape != wanted:
        raise ValueError(f"optimizer: expected a slot of shape {wanted}, got {slot.shape}")
    return slot.param.w


cdef float *_beside(Parameter other, Parameter weight) except? NULL:
    """The memory of what is kept for each element of a weight; NULL for None."""
    if other is None:
        return NULL
    if other.shape != weight.shape or other.matrix != weight.matrix:
        raise ValueError(f"optimizer: expected a slot of shape {weight.shape}, got {other.shape}")
    return other.param.w


_OUTSIDE = "{}: expected numbers in [0, {}), got {:.8g}"
_INEXACT = ("{} must have integers below {} in size, which float32 holds all of, got one of about "
            "{:.8g}")


cdef class _Host:
    """A Python function within a program: what the core calls, and the error that it raised."""

    cdef object function, error
    cdef tuple x_shape, y_shape

    def __cinit__(self, function, x, y):
        self.function = function
        self.x_shape = x.shape
        self.y_shape = y.shape

    cdef int run(self, const cdl_host_call *call) except -1:
        cdef Py_buffer view
        x = _copy_of(call.x, (call.rows, *self.x_shape))
        shape = self.x_shape if call.dy != NULL else self.y_shape
        if call.dy == NULL:
            out = self.function.forward(x, bool(call.training))
        else:
            y = _copy_of(call.y, (call.rows, *self.y_shape))
            dy = _copy_of(call.dy, (call.rows, *self.y_shape))
            out = self.function.backward(x, y, dy, bool(call.training))
        out = np.ascontiguousarray(out, np.float32)
        if out.shape != (call.rows, *shape):
            raise ValueError(f"expected an array of shape {(call.rows, *shape)}, got {out.shape}")
        memcpy(call.out, _floats(out, out.size, False, &view), <size_t>out.nbytes)
        PyBuffer_Release(&view)
        return 0


cdef object _copy_of(const float *values, shape):
    cdef Py_buffer view
    array = np.empty(shape, np.float32)
    memcpy(_floats(array, array.size, True, &view), values, <size_t>array.nbytes)
    PyBuffer_Release(&view)
    return array


cdef int _call_host(void *who, const cdl_host_call *call) noexcept with gil:
    cdef _Host host = <_Host>who
    try:
        host.run(call)
        return 1
    except BaseException as error:
        host.error = error
        return 0


cdef class _Definition:
    """A program as the core wants it described: cdl_program_def and what it points to."""

    cdef cdl_program_def definition
    # By which a fault names its instruction, or its input.
    cdef list keep, hosts, labels, faults, input_labels
    cdef list seeds  # (instruction, which of its numbers, seed) of each that draws

    def __cinit__(self, program, size_t rows, bint training, bint predicts, bint splits, optimizer,
                  dict rules, str isa, int threads, lockstep):
        program = program.flat(training)
        memset(&self.definition, 0, sizeof(self.definition))
        self.keep = []
        self.hosts = []
        self.labels = []
        self.faults = []
        self.seeds = []
        self.input_labels = [v.label for v in program.inputs]
        self.definition.rows = rows
        self.definition.training = training
        self.definition.predicts = predicts
        self.definition.splits = splits
        self.definition.threads = threads
        self.definition.lockstep = 0 if lockstep is None else 2 if lockstep else 1
        name = (isa or _default_isa).encode()
        self.keep.append(name)
        self.definition.isa = name
        number = self._values(program)
        learning = self._learning(program, optimizer, rules)
        if training:
            _check_gradients(program)
        self._optimizer(program, optimizer, rules)
        self._instructions(program, number, learning)

    cdef void *_memory(self, size_t bytes):
        block = bytearray(bytes + 8)
        self.keep.append(block)
        cdef unsigned char[::1] view = block
        return <void *>&view[0]

    cdef dict _values(self, program):
        used = _defined(program)
        number = {key: k for k, key in enumerate(used)}
        cdef cdl_value_def *values = <cdl_value_def *>self._memory(
            len(used) * sizeof(cdl_value_def))
        for k, v in enumerate(used.values()):
            if len(v.shape) > CDL_MAX_DIMS:
                raise ValueError(
                    f"expected at most {CDL_MAX_DIMS} axes a sample, got shape {v.shape}")
            values[k].n_dims = len(v.shape)
            values[k].dtype = _NUMBER["dtypes"][v.dtype]
            values[k].shared = v.shared
            values[k].rounded = v.rounded_to == "bfloat16"
            values[k].whole = v.label is not None
            for d, n in enumerate(_shape(v.shape, 1, f"value {v!r}")):
                values[k].dims[d] = n
        external_grads = program.external_grads if self.definition.training else []
        self.definition.n_values = len(used)
        self.definition.values = values
        self.definition.n_inputs = len(program.inputs)
        self.definition.inputs = self._numbers_of(program.inputs, number)
        self.definition.n_outputs = len(program.outputs)
        self.definition.outputs = self._numbers_of(program.outputs, number)
        self.definition.n_external_grads = len(external_grads)
        self.definition.external_grads = self._numbers_of(external_grads, number)
        return number

    cdef int *_numbers_of(self, list values, dict number) except NULL:
        cdef int *to = <int *>self._memory(len(values) * sizeof(int))
        for k, v in enumerate(values):
            to[k] = number[id(v)]
        return to

    cdef list _learning(self, program, optimizer, dict rules):
        """The variables that learn; without an optimizer those whose penalty the loss counts."""
        slots = {}
        for _, _, of_group in _groups(optimizer):
            slots.update(of_group)
        if optimizer is None:
            slots = rules.get("penalties", {})
        used = [v for v in program.variables if v in slots]
        seen = {id(v) for v in used}
        return used + [v for v in slots if id(v) not in seen]

    cdef _optimizer(self, program, optimizer, dict rules):
        learning = self._learning(program, optimizer, rules)
        cdef cdl_trained *trained = <cdl_trained *>self._memory(
            len(learning) * sizeof(cdl_trained))
        self.definition.n_trained = len(learning)
        self.definition.trained = trained
        for k, variable in enumerate(learning):
            self._trained(&trained[k], variable, optimizer, rules)
        if optimizer is None:
            return
        groups = _groups(optimizer)
        if len(groups) > CDL_MAX_GROUPS:
            raise ValueError(
                f"optimizer: expected at most {CDL_MAX_GROUPS} groups of weights, by rule and rate "
                f"factor, got {len(groups)}")
        self.definition.n_groups = len(groups)
        for g, (row, hypers, _) in enumerate(groups):
            self.definition.groups[g].optimizer = _NUMBER["optimizers"][row]
            self.definition.groups[g].rate_factor = hypers.get("rate_factor", 1.0)
            for k, name in enumerate(OPTIMIZERS[row].hypers):
                self.definition.groups[g].hypers[k] = hypers[name]
        cdef cdl_rules *to = &self.definition.rules
        to.clip_value = rules.get("clipvalue") or 0.0
        to.clip_norm = rules.get("clipnorm") or 0.0
        to.global_clip_norm = rules.get("global_clipnorm") or 0.0
        to.average_momentum = rules.get("ema_momentum") or 0.0
        to.overwrite_frequency = rules.get("ema_overwrite_frequency") or 0
        to.accumulation_steps = rules.get("gradient_accumulation_steps") or 0
        to.finite_only = rules.get("finite_only") or False
        cdef Parameter scale = rules.get("loss_scale")
        to.loss_scale = NULL if scale is None else scale.param

    cdef int _trained(self, cdl_trained *to, variable, optimizer, dict rules) except -1:
        cdef Parameter storage = variable.storage
        to.param = storage.param
        *_, height, width = (1, 1) + storage.shape
        to.height, to.width = height, width
        to.outer = storage.size // max(1, height * width)
        to.l1, to.l2 = rules.get("penalties", {}).get(variable, (0.0, 0.0))
        decay = rules.get("weight_decay") or 0.0
        to.decay = decay.get(variable, 0.0) if isinstance(decay, dict) else decay
        to.added_grad = _beside(rules.get("added_gradients", {}).get(variable), storage)
        kind, limits = rules.get("constraints", {}).get(variable, (None, (0.0, 0.0, 0.0)))
        to.constraint = {None: 0, "non_negative": 1, "norm": 2}[kind]
        to.low, to.high, to.rate = limits
        for g, (row, _, slots) in enumerate(_groups(optimizer)):
            if variable not in slots:
                continue
            to.group = g
            if len(slots[variable]) != len(OPTIMIZERS[row].slots):
                raise ValueError(f"{row}: expected slots {OPTIMIZERS[row].slots}")
            for s, (name, slot) in enumerate(zip(OPTIMIZERS[row].slots, slots[variable])):
                to.slots[s] = _slot(name, slot, storage)
        if optimizer is None:
            return 0
        to.average = _beside(rules.get("averages", {}).get(variable), storage)
        to.accumulated = _beside(rules.get("accumulators", {}).get(variable), storage)
        return 0

    cdef _instructions(self, program, dict number, list learning):
        cdef cdl_instruction_def *list_ = <cdl_instruction_def *>self._memory(
            len(program.instructions) * sizeof(cdl_instruction_def))
        order = {id(v): k for k, v in enumerate(learning)}
        for k, i in enumerate(program.instructions):
            self._instruction(&list_[k], i, number, order)
        self.definition.n_instructions = len(program.instructions)
        self.definition.instructions = list_

    cdef int _instruction(self, cdl_instruction_def *to, i, dict number, dict order) except -1:
        cdef Parameter storage
        row = OPS[i.op]
        to.op = _NUMBER["ops"][i.op]
        to.n_in = len(i.inputs)
        to.n_out = len(i.outputs)
        to.n_params = len(row.params)
        for j, v in enumerate(i.inputs):
            to.inputs[j] = number[id(v)]
        for j, v in enumerate(i.outputs):
            to.out[j] = number[id(v)]
        for j in range(len(row.params)):
            to.trained[j] = -1
            variable = i.params[j] if j < len(i.params) else None
            if variable is not None:
                storage = variable.storage
                to.params[j] = storage.param
                to.trained[j] = order.get(id(variable), -1)
                if j < len(i.param_dtypes) and i.param_dtypes[j] is not None:
                    to.param_dtypes[j] = _NUMBER["dtypes"][i.param_dtypes[j]]
        given = dict(i.attributes)
        self.labels.append(given.pop("label", i.op))
        self.faults.append(_INEXACT if i.op == "exact" else _OUTSIDE)
        if i.op == "host":
            host = _Host(given.pop("function"), i.inputs[0], i.outputs[0])
            self.hosts.append(host)
            to.host.call = _call_host
            to.host.who = <void *>host
        numbers = []
        if row.table:
            kind = given.pop(row.numbers[0], "linear")
            numbers.append(_NUMBER[row.table][kind])
            needs_x = row.numbers[0] == "activation" and not ACTIVATIONS_FROM_Y[kind]
            if needs_x and self.definition.training:
                raise ValueError(f"{i.op}: the derivative of {kind} needs more than its value")
            for q, param in enumerate(_TABLES[row.table][kind]):
                to.row_params[q] = given.pop(param)
        if "seed" in row.numbers:
            self.seeds.append((len(self.labels) - 1, row.numbers.index("seed"), given["seed"]))
        numbers += [given.pop(name) for name in row.numbers[len(numbers):]]
        numbers += i.numbers
        for j, name in enumerate(row.attributes):
            to.attributes[j] = given.pop(name)
        if given:
            raise ValueError(f"{i.op}: unknown attributes {sorted(given)}")
        to.numbers = self._integers(numbers)
        to.n_numbers = len(numbers)
        to.data = self._doubles(i.data)
        to.n_data = len(i.data)
        return 0

    cdef const int64_t *_integers(self, list numbers) except NULL:
        cdef int64_t *to = <int64_t *>self._memory(len(numbers) * sizeof(int64_t))
        try:
            for k, n in enumerate(numbers):
                to[k] = operator.index(n)
        except (TypeError, OverflowError):
            last = len(self.labels) - 1
            what = f"instruction {last} ({self.labels[last]})"
            raise ValueError(f"{what}: expected integers of 64 bits, got {n!r}") from None
        return to

    cdef const double *_doubles(self, tuple data) except NULL:
        cdef double *to = <double *>self._memory(len(data) * sizeof(double))
        for k, n in enumerate(data):
            to[k] = n
        return to
