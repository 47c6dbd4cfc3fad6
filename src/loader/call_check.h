// Calls of library functions, checked against the functions' signatures.
#pragma once

#include "src/graph/graph.h"
#include "src/loader/graph_importer.h"

namespace savedmodel {

// Checks that the functions which `node` (a call, conditional or loop, with complete attributes)
// names exist, take what the node passes and give what it expects. OK for all other ops.
// NOT_FOUND, INVALID_ARGUMENT.
Status CheckCalls(const Node& node, const FunctionIndex& functions);

}  // namespace savedmodel
