"""Distributed training on several processes of an MPI job."""

from cdl._common.public_names import publish as _publish
from cdl.distribution.api import DataParallel as DataParallel
from cdl.distribution.api import DeviceMesh as DeviceMesh
from cdl.distribution.api import distribution as distribution
from cdl.distribution.api import get_device_count as get_device_count
from cdl.distribution.api import initialize as initialize
from cdl.distribution.api import list_devices as list_devices
from cdl.distribution.api import set_distribution as set_distribution

_publish(globals())
