// The other way a model may answer a request: it sends, instead of returning from `execute`.
#pragma once

#include <nanobind/nanobind.h>

namespace mpserve::bind {

struct ResponseSender {
    nanobind::object request;  // what was sent lies there: all senders of a request share it
};

void bind_response_sender(nanobind::module_& m);

}  // namespace mpserve::bind
