// Checkpoints, files, tf.Example parsing. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> CheckpointOps();
Span<const OpDef> DecodeOps();
Span<const OpDef> FileOps();
Span<const OpDef> JsonExampleOps();
Span<const OpDef> ParseExampleOps();
Span<const OpDef> ParseSequenceExampleOps();
Span<const OpDef> ProtoOps();
Span<const OpDef> TensorProtoOps();

// Every family of this folder, listed in io_ops.cc.
std::vector<Span<const OpDef>> IoFamilies();

}  // namespace savedmodel
