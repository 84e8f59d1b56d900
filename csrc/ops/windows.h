/* windows.h - common parts of ops with windows: their geometry, and images and maps as fields.
 *
 * The integers of such a node end with four for each axis, outermost first: size, stride, dilation,
 * and the distance by which the first window begins before the image.
 */
#ifndef CDL_OPS_WINDOWS_H
#define CDL_OPS_WINDOWS_H

#include "ops/op.h"
#include "products/convolve.h"

enum { CDL_SIZE, CDL_STRIDE, CDL_DILATION, CDL_BEFORE, CDL_AXIS_NUMBERS };

/* Rows of an op with windows: its output is the map, or the image. */
enum { CDL_TO_MAP, CDL_TO_IMAGE };
static inline bool cdl_writes_image(const struct cdl_node *node) {
    return node->op->row == CDL_TO_IMAGE;
}

/* Error unless the integers of a node from `first` on are a window between two values of as many
 * axes. */
const char *cdl_check_window(const struct cdl_node *node, size_t first);

struct cdl_window cdl_window_of(const struct cdl_node *node);

/* A value from sample `first` on, or its gradient; of bfloat16 in floats' worth of memory. */
struct cdl_field cdl_field_of(const struct cdl_tensor *value, const float *data, size_t first);

/* Error unless a weight has a row for each tap and each of `read` columns of the image. */
const char *cdl_check_kernel(const struct cdl_param *w, const struct cdl_window *window,
                             size_t read, size_t columns);

/* Epilogues of an op's output: its activation; and of dx: the gradient of the activation of the
 * node that gives x. */
struct cdl_epilogue cdl_activation_of(const struct cdl_node *node);
struct cdl_epilogue cdl_activation_gradient_of(const struct cdl_node *node, size_t first);

/* A node's code: the window and its spans in both directions. Of a convolution whose kernel does
 * not learn, the scratch may keep Winograd's weights. */
struct cdl_windowing {
    struct cdl_window window;
    bool keeps_winograd;
    struct cdl_spans to_map, to_image;
    struct cdl_span spans[];
};

/* code_bytes() and derive() of an op. */
size_t cdl_windowing_bytes(const struct cdl_node *node);
void cdl_derive_windowing(const struct cdl_node *node, const struct cdl_kernels *kernels);

struct cdl_window_pass {
    const struct cdl_node *node;
    const struct cdl_context *ctx;
    bool back;
};
static inline bool cdl_pass_writes_image(const struct cdl_window_pass *pass) {
    return pass->back != cdl_writes_image(pass->node);
}

/* Calls visit() for what pieces [first, last) cover: whole samples, or (band) a band of one. */
typedef void cdl_band_fn(const struct cdl_window_pass *pass, size_t first, size_t last,
                         const struct cdl_band *band);
void cdl_each_band(const struct cdl_window_pass *pass, struct cdl_bands bands, size_t first,
                   size_t last, cdl_band_fn *visit);

/* Bands of ops that write each number of a window's map, or image, by itself. */
struct cdl_bands cdl_window_bands(const struct cdl_window_pass *pass, size_t rows);

#endif
