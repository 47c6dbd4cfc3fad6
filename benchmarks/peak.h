// What the machine's arithmetic can do: the yardstick of the micro-benchmarks.
#pragma once

#include <string>

#include "savedmodel/model.h"

namespace savedmodel {

// The level of vector code that the library uses here: SAVEDMODEL_ISA, or the best there is.
std::string IsaInUse();

// Multiply-adds per second of one core with the vectors of `isa`, times two, of the numbers that
// products in `precision` multiply there: the best of several runs of a loop that touches no
// memory. Measured once.
double PeakFlops(const std::string& isa, Precision precision);

}  // namespace savedmodel
