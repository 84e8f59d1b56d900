"""Image operations on arrays and traced: resizing, colors, crops, warps.

Images are (n, height, width, channels), or (n, channels, height, width) with "channels_first";
one image without the first axis may stand for several.
"""

from cdl._common.public_names import publish as _publish
from cdl.ops.image.colors import hsv_to_rgb as hsv_to_rgb
from cdl.ops.image.colors import rgb_to_grayscale as rgb_to_grayscale
from cdl.ops.image.colors import rgb_to_hsv as rgb_to_hsv
from cdl.ops.image.cropping import crop_images as crop_images
from cdl.ops.image.cropping import extract_patches as extract_patches
from cdl.ops.image.cropping import extract_patches_3d as extract_patches_3d
from cdl.ops.image.cropping import pad_images as pad_images
from cdl.ops.image.filters import gaussian_blur as gaussian_blur
from cdl.ops.image.filters import sobel_edges as sobel_edges
from cdl.ops.image.filters import ssim as ssim
from cdl.ops.image.resizing import resize as resize
from cdl.ops.image.resizing import scale_and_translate as scale_and_translate
from cdl.ops.image.warping import affine_transform as affine_transform
from cdl.ops.image.warping import elastic_transform as elastic_transform
from cdl.ops.image.warping import map_coordinates as map_coordinates
from cdl.ops.image.warping import perspective_transform as perspective_transform

_publish(globals())
