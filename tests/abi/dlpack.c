/* `speft_tensor` has the memory layout of DLPack's `DLTensor`, and its numbers are DLPack's: held against the real
 * header by the compiler. */
#include <stddef.h>

#include <dlpack/dlpack.h>
#include <speft/tensor.h>

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #ours " has the size of " #theirs)
#define SAME_PLACE(ours, our_field, theirs, their_field)                                       \
    _Static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) &&               \
                       sizeof(((ours *)0)->our_field) == sizeof(((theirs *)0)->their_field),   \
                   #ours "." #our_field " lies where " #theirs "." #their_field " does")
#define SAME_NUMBER(ours, theirs) _Static_assert((int)ours == (int)theirs, #ours " is " #theirs)

SAME_SIZE(speft_tensor, DLTensor);
SAME_PLACE(speft_tensor, data, DLTensor, data);
SAME_PLACE(speft_tensor, device, DLTensor, device);
SAME_PLACE(speft_tensor, ndim, DLTensor, ndim);
SAME_PLACE(speft_tensor, dtype, DLTensor, dtype);
SAME_PLACE(speft_tensor, shape, DLTensor, shape);
SAME_PLACE(speft_tensor, strides, DLTensor, strides);
SAME_PLACE(speft_tensor, byte_offset, DLTensor, byte_offset);

SAME_SIZE(speft_device, DLDevice);
SAME_PLACE(speft_device, type, DLDevice, device_type);
SAME_PLACE(speft_device, id, DLDevice, device_id);

SAME_SIZE(speft_dtype, DLDataType);
SAME_PLACE(speft_dtype, code, DLDataType, code);
SAME_PLACE(speft_dtype, bits, DLDataType, bits);
SAME_PLACE(speft_dtype, lanes, DLDataType, lanes);

SAME_NUMBER(SPEFT_DEVICE_CPU, kDLCPU);
SAME_NUMBER(SPEFT_DEVICE_CUDA, kDLCUDA);
SAME_NUMBER(SPEFT_DEVICE_CUDA_HOST, kDLCUDAHost);
SAME_NUMBER(SPEFT_CODE_INT, kDLInt);
SAME_NUMBER(SPEFT_CODE_UINT, kDLUInt);
SAME_NUMBER(SPEFT_CODE_FLOAT, kDLFloat);
SAME_NUMBER(SPEFT_CODE_BFLOAT, kDLBfloat);
