// Models of which parts stay bytes until they are asked for. Most never are: the functions that
// save and restore variables and the main graph, which only sessions use, are two thirds of a file.
// Internal to the loader.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "savedmodel/status.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

namespace proto {
class FunctionDef;
class GraphDef;
class OpDef;
class SavedModel;
}  // namespace proto

// As ParseBinary, but of functions it parses the names only, and of main graphs beside an object
// graph the functions only: the bytes of these are in their `unparsed`. What is wrong in them, but
// for names of nodes that are no UTF-8, is found when they are parsed.
Status ParseDeferring(std::string_view bytes, std::string_view what, proto::SavedModel* model);

// The signature in the unparsed bytes of `function`. DATA_LOSS.
Status ParseSignature(const proto::FunctionDef& function, proto::OpDef* signature);

// Sets those of `values` of which the unparsed bytes of `graph` hold a Const node with that name.
void ReadUnparsedConstants(const proto::GraphDef& graph, std::map<std::string, Tensor>* values);

}  // namespace savedmodel
