#include "model_objects.hpp"

#include "inference_request.hpp"
#include "inference_response.hpp"
#include "inference_trace.hpp"
#include "instance_context.hpp"
#include "loopback.hpp"
#include "model_exception.hpp"
#include "response_sender.hpp"
#include "stacking.hpp"
#include "tensor.hpp"
#include "tensor_buffer.hpp"

namespace mpserve::bind {

void bind_model_objects(nanobind::module_& m) {
    bind_model_exception(m);
    bind_instance_context(m);
    bind_tensor(m);
    bind_tensor_buffer(m);
    bind_inference_response(m);
    bind_inference_trace(m);
    bind_response_sender(m);
    bind_inference_request(m);
    bind_stacking(m);
    bind_loopback(m);
}

}  // namespace mpserve::bind
