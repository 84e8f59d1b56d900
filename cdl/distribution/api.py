"""DataParallel and its surroundings: Keras's names for training on several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cdl import _core
from cdl.distribution import ranks

_TIMEOUT = 1800.0
_distribution: DataParallel | None = None


class DeviceMesh:
    """Devices along named axes; here all ranks of the job along one.

    Args:
        shape: how many devices each axis has.
        axis_names: the axes' names.
        devices: their names, all that there are by default.

    Raises:
        ValueError: nothing given, lengths that differ, or another number of devices.
    """

    def __init__(
        self, shape: Sequence[int], axis_names: Sequence[str], devices: Any = None
    ) -> None:
        if not shape or not axis_names:
            raise ValueError(
                "DeviceMesh: shape and axis_names must not be empty, got "
                f"shape={shape!r}, axis_names={axis_names!r}"
            )
        if len(shape) != len(axis_names):
            raise ValueError(
                "DeviceMesh: shape and axis_names must be of one length, got "
                f"shape={shape!r}, axis_names={axis_names!r}"
            )
        given = np.array(list_devices() if devices is None else devices).flatten()
        if np.prod(shape) != given.size:
            raise ValueError(
                f"DeviceMesh: shape {tuple(shape)} wants {int(np.prod(shape))} devices, got "
                f"{given.size}: {given.tolist()}"
            )
        self.shape = tuple(shape) if isinstance(shape, tuple) else list(shape)
        self.axis_names = list(axis_names)
        self.devices = given.reshape(shape)


class DataParallel:
    """Data parallelism: each rank of an MPI job takes its share of the rows of every batch.

    n ranks compute the steps of one process: `batch_size` is that of the whole batch, and all ranks
    have the same weights, logs and predictions. Without a launcher such as `mpiexec` the job has
    one rank, and nothing changes.

    Args:
        device_mesh: a DeviceMesh of one axis, of all ranks.
        devices: "cpu:0" to "cpu:n-1", all ranks.
        auto_shard_dataset: True: every rank is given the same data. False: each is given a part of
            its own, and `batch_size` rows of each make a batch; all must have as many rows.
        reproducible: whether what is learned is to be the same to the bit for 1 to 8 ranks: each
            batch is cut into eight parts, whose gradients are added as a tree. It costs time, most
            of all for one rank. Weights that the samples of a batch share as one value, such as a
            table of positions, and loops over a cell of the user's are refused when training
            begins.

    Attributes:
        num_processes: ranks of the job.
        num_model_replicas: the same.
        batch_dim_name: the name of the mesh's axis.

    Raises:
        ImportError: the job has several ranks, and mpi4py is not there.
        ValueError: devices that are not all ranks, or arguments that cannot be honoured together.
    """

    def __init__(
        self,
        device_mesh: DeviceMesh | None = None,
        devices: Sequence[str] | None = None,
        auto_shard_dataset: bool = True,
        reproducible: bool = False,
    ) -> None:
        everyone = list_devices()
        if device_mesh is not None:
            if not isinstance(device_mesh, DeviceMesh):
                raise ValueError(
                    "DataParallel: device_mesh must be a DeviceMesh, got "
                    f"{type(device_mesh).__name__}"
                )
            if len(device_mesh.shape) > 1:
                raise ValueError(
                    "DataParallel: device_mesh must have one axis, since cdl splits batches and "
                    f"nothing else, got {device_mesh.axis_names}"
                )
            devices = device_mesh.devices.tolist()
        if devices is not None and list(devices) != everyone:
            raise ValueError(
                "DataParallel: devices must be all ranks of the job, which mpiexec chooses: "
                f"{everyone}, got {list(devices)}"
            )
        if reproducible and not auto_shard_dataset:
            raise ValueError(
                "DataParallel: reproducible=True needs auto_shard_dataset=True, since the parts of "
                f"a batch must not depend on the number of ranks, got {auto_shard_dataset!r}"
            )
        if reproducible and len(everyone) > ranks.LEAVES:
            raise ValueError(
                f"DataParallel: reproducible must be False for more than {ranks.LEAVES} ranks, got "
                f"{reproducible!r} for {len(everyone)}"
            )
        self.device_mesh = device_mesh or DeviceMesh([len(everyone)], ["batch"], everyone)
        self.batch_dim_name: str = self.device_mesh.axis_names[0]
        self.reproducible = reproducible
        self.auto_shard_dataset = auto_shard_dataset

    @property
    def auto_shard_dataset(self) -> bool:
        """Whether all ranks are given the same data; may be set between two calls of `fit`."""
        return self._auto_shard_dataset

    @auto_shard_dataset.setter
    def auto_shard_dataset(self, value: bool) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(
                f"DataParallel: auto_shard_dataset must be True or False, got {value!r}"
            )
        self._auto_shard_dataset = bool(value)
        if distribution() is self:
            set_distribution(self)

    @property
    def num_processes(self) -> int:
        """Number of ranks of the job."""
        return len(list_devices())

    @property
    def num_model_replicas(self) -> int:
        """Number of model replicas: one a rank."""
        return self.num_processes

    @property
    def num_data_shards(self) -> int:
        """Number of data shards: one a rank."""
        return self.num_processes

    @property
    def data_shard_id(self) -> int:
        """Number of this process's shard: its rank."""
        made = initialized()
        return made.rank if made is not None else 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Context in which this distribution is set; the former one is restored."""
        before = distribution()
        set_distribution(self)
        try:
            yield
        finally:
            set_distribution(before)


_made: list[ranks.Ranks | None] = []


def initialized() -> ranks.Ranks | None:
    """All ranks of the job; None if it has one. MPI is imported where there is a launcher."""
    if _made:
        return _made[0]
    started = ranks.launched()
    if started == 1:
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"cdl.distribution: a launcher has started {started or 'several'} processes, and "
            "mpi4py is not there: pip install 'cdl-nn[mpi]'"
        ) from error
    if started and MPI.COMM_WORLD.size != started:
        raise ValueError(
            f"cdl.distribution: the launcher has started {started} processes, of which mpi4py sees "
            f"{MPI.COMM_WORLD.size}: mpiexec is that of another MPI than mpi4py's "
            f"({MPI.Get_library_version().splitlines()[0].strip()})"
        )
    if MPI.COMM_WORLD.size == 1:
        return None
    made = ranks.Ranks(MPI, _timeout())
    _limit_threads(made, MPI)
    _made.append(made)
    return made


def _timeout() -> float:
    given = os.environ.get("CDL_DISTRIBUTION_TIMEOUT", "")
    try:
        seconds = float(given) if given else _TIMEOUT
    except ValueError:
        seconds = -1.0
    if not seconds > 0.0:
        raise ValueError(f"CDL_DISTRIBUTION_TIMEOUT must be seconds above 0, got {given!r}")
    return seconds


def _limit_threads(made: ranks.Ranks, mpi: Any) -> None:
    """Limit threads, so that the ranks of a machine have as many as it has cores."""
    here = mpi.COMM_WORLD.Split_type(mpi.COMM_TYPE_SHARED)
    cores = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    sharing = sum(bool(set(cores) & set(theirs)) for theirs in here.allgather(cores))
    made.on_one_machine = here.size == made.size
    here.Free()
    made.threads = _core.info()["threads"]
    if "OMP_NUM_THREADS" not in os.environ:
        made.threads = min(made.threads, max(1, len(cores) // sharing))
        _core.limit_threads(made.threads)


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Start MPI, where a launcher has started several processes; `DataParallel` does it too.

    Args:
        job_addresses: must be None: the launcher knows the hosts.
        num_processes: None, or what the launcher says.
        process_id: None, or this process's rank.

    Raises:
        ValueError: an argument that does not agree with the launcher.
    """
    if job_addresses is not None:
        raise ValueError(
            "initialize: job_addresses must be None: mpiexec knows the hosts, got "
            f"{job_addresses!r}"
        )
    made = initialized()
    size, rank = (made.size, made.rank) if made is not None else (1, 0)
    if num_processes not in (None, size):
        raise ValueError(
            f"initialize: num_processes must be the {size} of the launcher, got {num_processes!r}"
        )
    if process_id not in (None, rank):
        raise ValueError(
            f"initialize: process_id must be this process's rank, {rank}, got {process_id!r}"
        )


def list_devices(device_type: str | None = None) -> list[str]:
    """Names of the ranks: "cpu:0" and so on.

    Args:
        device_type: None or "cpu"; there are none of another type.
    """
    if device_type is not None and device_type.lower() != "cpu":
        return []
    made = initialized()
    return [f"cpu:{i}" for i in range(made.size if made is not None else 1)]


def get_device_count(device_type: str | None = None) -> int:
    """Number of ranks of the job.

    Args:
        device_type: None or "cpu"; there are none of another type.
    """
    return len(list_devices(device_type))


def set_distribution(value: DataParallel | None) -> None:
    """Set the distribution by which `fit`, `evaluate` and `predict` share their work.

    Args:
        value: a DataParallel; None: each rank is on its own again.

    Raises:
        ValueError: something else than a DataParallel.
    """
    global _distribution  # noqa: PLW0603 - the one place that sets it
    if value is not None and not isinstance(value, DataParallel):
        raise ValueError(
            f"set_distribution: value must be a DataParallel or None, got {type(value).__name__}"
        )
    made = initialized() if value is not None else None
    if value is not None and value.reproducible:
        made = made or ranks.Alone()
    if made is not None and value is not None:
        made.reproducible = value.reproducible
        made.own_data = not value.auto_shard_dataset
    ranks.set_current(made)
    _distribution = value


def distribution() -> DataParallel | None:
    """The distribution that was set last; None at first."""
    return _distribution
