/* Views on the host's memory.
 *
 * `speft_tensor` has the memory layout of DLPack's `DLTensor`, so that a view from any framework passes without a
 * copy. It is declared here to let this header stand alone. A view owns nothing. */
#ifndef SPEFT_TENSOR_H
#define SPEFT_TENSOR_H

#include <stdint.h>

/* `speft_device.type`: DLPack's DLDeviceType. */
enum { SPEFT_DEVICE_CPU = 1, SPEFT_DEVICE_CUDA = 2, SPEFT_DEVICE_CUDA_HOST = 3 };

/* `speft_dtype.code`: DLPack's DLDataTypeCode. */
enum { SPEFT_CODE_INT = 0, SPEFT_CODE_UINT = 1, SPEFT_CODE_FLOAT = 2, SPEFT_CODE_BFLOAT = 4 };

typedef struct speft_device {
    int32_t type;
    int32_t id;
} speft_device;

/* float32 is {FLOAT, 32, 1}, float16 {FLOAT, 16, 1}, bfloat16 {BFLOAT, 16, 1}, int64 {INT, 64, 1}. */
typedef struct speft_dtype {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
} speft_dtype;

typedef struct speft_tensor {
    /* With `byte_offset` aligned to the element's size. */
    void *data;
    speft_device device;
    int32_t ndim;
    speft_dtype dtype;
    /* [ndim] */
    int64_t *shape;
    /* [ndim], counted in elements, or NULL for row-major contiguous. Anything but row-major contiguous is refused. */
    int64_t *strides;
    /* Added to `data`. */
    uint64_t byte_offset;
} speft_tensor;

#endif
