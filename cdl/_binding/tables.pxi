# tables.pxi - the rows of the core's tables as Python sees them. Part of _core.pyx.

class LossRow:
    """A row of losses, metrics or tallies: its parameters, and what its target is."""

    __slots__ = ("params", "target")

    def __init__(self, params, target):
        self.params = params
        self.target = target


class MetricRow(LossRow):
    """A row of the table of metrics."""


class TallyRow(LossRow):
    """A row of the table of metrics that count."""


class OptimizerRow:
    """A row of the table of optimizers: names of its hyper-parameters and slots."""

    __slots__ = ("hypers", "slots")

    def __init__(self, hypers, slots):
        self.hypers = hypers
        self.slots = slots


class OpRow:
    """A row of the table of operations.

    Its signature and meaning as in csrc/ops/ops.def; names of weights, of numbers (integers) and of
    attributes (floats) in the order of the signature; what its integers beyond those are, and its
    floats, or ""; the table that number 0 names a row of, whether the first input gets
    a gradient from it, whether all others do too, whether it does more than give its outputs,
    whether it has a state that is reported, whether a loop can run it, and whether its weights can
    hold a batch normalization behind it.
    """

    __slots__ = (
        "all_inputs", "attributes", "data", "effects", "folds", "gives_gradient", "loops",
        "meaning", "numbers", "params", "reports", "signature", "table", "tail",
    )

    def __init__(self, signature, meaning, table, gives_gradient, all_inputs, effects, reports,
                 loops):
        self.signature = signature
        self.meaning = meaning
        parts = (signature.split("->")[0] + ";;;").split(";")
        self.params, _ = _words(parts[1])
        self.numbers, self.tail = _words(parts[2])
        self.attributes, self.data = _words(parts[3])
        self.folds = {"kernel", "gamma"} <= set(self.params)
        self.table = table
        self.gives_gradient = gives_gradient
        self.all_inputs = all_inputs
        self.effects = effects
        self.reports = reports
        self.loops = loops


cdef tuple _names(text):
    return tuple(text.split(",")) if text else ()


cdef tuple _words(str part):
    """The names in a part of a signature, and the one at its end that stands for any count."""
    words = [word.strip(" []") for word in part.split(",") if word.strip()]
    more = [word.removesuffix("...") for word in words if word.endswith("...")]
    return tuple([word for word in words if not word.endswith("...")]), "".join(more)


cdef list _rows(str table):
    """(name, params, more, table, gives_gradient, all_inputs, effects, reports, loops) of each."""
    cdef cdl_row row
    cdef bytes name = table.encode()
    found = []
    while cdl_table_row(name, len(found), &row):
        texts = (row.params.decode(), row.more.decode())
        found.append((row.name.decode(), *(texts if table == "ops" else map(_names, texts)),
                      row.table.decode() if row.table != NULL else None,
                      bool(row.gives_gradient), bool(row.all_inputs), bool(row.effects),
                      bool(row.reports), bool(row.loops)))
    return found


OPS = {name: OpRow(*row) for name, *row in _rows("ops")}
ACTIVATIONS = {name: params for name, params, *_ in _rows("activations")}
ACTIVATIONS_FROM_Y = {name: more == ("y",) for name, _, more, *_ in _rows("activations")}
LOSSES = {name: LossRow(params, more[0]) for name, params, more, *_ in _rows("losses")}
METRICS = {name: MetricRow(params, more[0]) for name, params, more, *_ in _rows("metrics")}
TALLIES = {name: TallyRow(params, more[0]) for name, params, more, *_ in _rows("tallies")}
ELEMENTWISE = {name: len(params) for name, params, *_ in _rows("elementwise")}
LINEWISE = {name: len(params) for name, params, *_ in _rows("linewise")}
MAP_REGISTERS, MAP_CONSTANTS, MAP_STEPS = CDL_MAP_REGISTERS, CDL_MAP_CONSTANTS, CDL_MAP_STEPS
MAP_ROOM_OF_LINES = CDL_MAP_ROOM_OF_LINES
MIXED = {(name, int(params[0])) for name, params, *_ in _rows("mixed")}
OPTIMIZERS = {name: OptimizerRow(params, more) for name, params, more, *_ in _rows("optimizers")}

cdef dict _TABLES = {
    "activations": ACTIVATIONS,
    "losses": {name: row.params for name, row in LOSSES.items()},
    "metrics": {name: row.params for name, row in METRICS.items()},
    "tallies": {name: row.params for name, row in TALLIES.items()},
    "dtypes": {name: params for name, params, *_ in _rows("dtypes")},
    "draws": {name: params for name, params, *_ in _rows("draws")},
    "reductions": {name: params for name, params, *_ in _rows("reductions")},
}
cdef dict _NUMBER = {
    table: {name: i for i, name in enumerate(rows)} for table, rows in _TABLES.items()
}
_NUMBER["ops"] = {name: i for i, name in enumerate(OPS)}
_NUMBER["optimizers"] = {name: i for i, name in enumerate(OPTIMIZERS)}


cdef list _isas():
    cdef c_bool runs = False
    cdef const char *name
    found = []
    while True:
        name = cdl_isa_row(len(found), &runs)
        if name == NULL:
            return found
        found.append((name.decode(), bool(runs)))


ISAS = tuple(name for name, _ in _isas())


def available_isas():
    """Names of the compiled-in ISAs that this machine runs, best first."""
    return tuple(name for name, runs in _isas() if runs)


cdef str _forced_isa():
    forced = os.environ.get("CDL_ISA", "")
    if forced and forced not in available_isas():
        raise ImportError(
            f"CDL_ISA: expected one of {', '.join(available_isas())}, got {forced!r}"
        )
    return forced or available_isas()[0]


def _parse_caches(str text):
    """Bytes of three sizes such as 48K,2M,30M; None if they are not that."""
    words = re.fullmatch(",".join([r"\s*(\d{1,12})([KMG]?)\s*"] * 3), text.upper(), re.ASCII)
    if words is None:
        return None
    found = words.groups()
    sizes = [int(found[k]) << 10 * " KMG".index(found[k + 1] or " ") for k in (0, 2, 4)]
    fits = 4096 <= sizes[0] <= sizes[1] <= sizes[2] <= 1 << 40
    return sizes if fits else None


cdef int _start() except -1:
    """Sets the core up, with the caches that CDL_CACHE tells in place of the machine's."""
    cdef cdl_caches caches
    text = os.environ.get("CDL_CACHE", "")
    if not text:
        cdl_start(NULL)
        return 0
    sizes = _parse_caches(text)
    if sizes is None:
        raise ImportError("CDL_CACHE: expected the sizes of L1, L2 and L3, from 4K to 1024G and "
                          f"none less than the one before, such as 48K,2M,30M, got {text!r}")
    caches.l1, caches.l2, caches.l3 = sizes
    cdl_start(&caches)
    return 0


_start()
cdef str _default_isa = _forced_isa()


def info():
    """What this build is and what it found: isa, compiler, openmp, cores that the process may use,
    threads and why that number, the bytes of the caches L1, L2 and L3 and who told."""
    cdef const cdl_caches *caches = caches_found()
    return {
        "isa": _default_isa,
        "compiler": cdl_compiler().decode(),
        "openmp": bool(cdl_threads_have_openmp()),
        "cores": cdl_threads_cores(),
        "threads": cdl_threads_available(),
        "threads_reason": cdl_threads_reason().decode(),
        "caches": (caches.l1, caches.l2, caches.l3),
        "caches_reason": cdl_caches_reason().decode(),
    }


def limit_threads(int most):
    """At most so many threads in what the calling thread builds from now on, 0 for no limit; gives
    the limit before."""
    return cdl_threads_limit_caller(most)


cdef int check(cdl_status status, const cdl_misfit *misfit=NULL) except -1:
    """Raise what a C status means; every fallible call goes through here."""
    if status == CDL_OK:
        return 0
    if status == CDL_ERR_NO_MEMORY:
        raise MemoryError("cdl: out of memory while building the program")
    reason = misfit.reason.decode()
    if misfit.instruction < 0:
        raise ValueError(reason)
    op = misfit.op.decode()
    signature = OPS[op].signature
    raise ValueError(f"instruction {misfit.instruction} ({op}): {reason}; signature: {signature}")


cdef tuple _shape(shape, int least, what):
    """The shape as ints; axes of at least `least`, and no more elements than sizes can count."""
    cdef double size, elements = 1
    cdef tuple axes = tuple([operator.index(n) for n in shape])
    for n in axes:
        size = n
        if size < least:
            raise ValueError(f"{what}: expected axes >= {least}, got shape {axes}")
        elements *= size if size > 1 else 1
    if elements > <double>(1 << 46):
        raise MemoryError(f"{what}: no memory holds shape {axes}")
    return axes
