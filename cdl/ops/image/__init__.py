"""Operations on images, on arrays and traced: other sizes, other colours, parts, places.

Images are (n, height, width, channels), or (n, channels, height, width) with "channels_first";
one image without the first axis may stand for several.
"""

from cdl._common.public_names import publish as _publish
from cdl.ops.image.resizing import resize as resize

_publish(globals())
