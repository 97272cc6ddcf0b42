// What a CPU build of PyTorch lacks before tensors may say that they are on a GPU: guards for the devices, hooks that
// report one device, and an accelerator for autograd to ask for streams. Preloaded, since the accelerator is
// decided when PyTorch is compiled: the definition here stands before PyTorch's own.
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstdlib>
#include <cstring>
#include <optional>

namespace {
template <c10::DeviceType D>
struct OneDevice : c10::impl::NoOpDeviceGuardImpl<D> {
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, c10::Device(D, 0)); }
  c10::Device exchangeDevice(c10::Device) const override { return c10::Device(D, 0); }
  c10::Device getDevice() const override { return c10::Device(D, 0); }
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};
C10_REGISTER_GUARD_IMPL(CUDA, OneDevice<c10::DeviceType::CUDA>)
C10_REGISTER_GUARD_IMPL(MPS, OneDevice<c10::DeviceType::MPS>)
}  // namespace

namespace at {
namespace accelerator {
std::optional<c10::DeviceType> getAccelerator(bool) {
  const char* kind = std::getenv("PRETENDED_GPU");
  return kind && std::strcmp(kind, "mps") == 0 ? c10::DeviceType::MPS : c10::DeviceType::CUDA;
}
}  // namespace accelerator

struct CUDAHooks : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
};
REGISTER_CUDA_HOOKS(CUDAHooks)

struct MPSHooks : MPSHooksInterface {
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
};
REGISTER_MPS_HOOKS(MPSHooks)
}  // namespace at
