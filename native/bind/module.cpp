#include <nanobind/nanobind.h>

#include "answer_object.hpp"
#include "codec.hpp"
#include "dispatcher.hpp"
#include "exchange.hpp"
#include "grpc_call.hpp"
#include "grpc_config.hpp"
#include "grpc_connection.hpp"
#include "http_config.hpp"
#include "http_connection.hpp"
#include "instance_port.hpp"
#include "lent_bytes.hpp"
#include "model_objects.hpp"
#include "proto_infer.hpp"
#include "queue_probe.hpp"
#include "rate_limiter_object.hpp"
#include "region_table.hpp"
#include "shared_objects.hpp"
#include "trace_gates.hpp"
#include "traffic_object.hpp"

NB_MODULE(_native, m) {
    m.doc() = "Native core of mpserve: shared memory, the request path and the objects models see.";
    nanobind::set_leak_warnings(false);  // models may keep arrays and requests until the end
    mpserve::bind::bind_shared_objects(m);
    mpserve::bind::bind_rate_limiter(m);
    mpserve::bind::bind_trace_board(m);
    mpserve::bind::bind_traffic(m);
    mpserve::bind::bind_queue_probe(m);
    mpserve::bind::bind_model_objects(m);
    mpserve::bind::bind_instance_port(m);
    mpserve::bind::bind_lent_bytes(m);
    mpserve::bind::bind_answer_object(m);
    mpserve::bind::bind_region_table(m);
    mpserve::bind::bind_dispatcher(m);
    mpserve::bind::bind_http_config(m);
    mpserve::bind::bind_http_connection(m);
    mpserve::bind::bind_exchange(m);
    mpserve::bind::bind_codec(m);
    mpserve::bind::bind_proto_infer(m);
    mpserve::bind::bind_grpc_config(m);
    mpserve::bind::bind_grpc_connection(m);
    mpserve::bind::bind_grpc_call(m);
}
