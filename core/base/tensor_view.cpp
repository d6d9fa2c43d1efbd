#include "core/base/tensor_view.h"

namespace speft {

std::string describe(speft_dtype dtype) {
    std::string name;
    switch (dtype.code) {
    case SPEFT_CODE_INT: name = "int"; break;
    case SPEFT_CODE_UINT: name = "uint"; break;
    case SPEFT_CODE_FLOAT: name = "float"; break;
    case SPEFT_CODE_BFLOAT: name = "bfloat"; break;
    default: name = "type code " + std::to_string(dtype.code) + " of bits "; break;
    }
    name += std::to_string(dtype.bits);
    if (dtype.lanes != 1) name += " x " + std::to_string(dtype.lanes);
    return name;
}

std::string describe(const Shape &shape) {
    std::string text = "[";
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        text += (axis ? ", " : "") + std::to_string(shape[axis]);
    return text + "]";
}

std::string describe(speft_device device) {
    switch (device.type) {
    case SPEFT_DEVICE_CPU: return "cpu";
    case SPEFT_DEVICE_CUDA: return "cuda:" + std::to_string(device.id);
    case SPEFT_DEVICE_CUDA_HOST: return "cuda-host:" + std::to_string(device.id);
    default: return "device type " + std::to_string(device.type);
    }
}

}  // namespace speft
