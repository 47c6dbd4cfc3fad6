// What the machine's arithmetic can do: the yardstick of the micro-benchmarks.
#pragma once

#include "savedmodel/model.h"

namespace savedmodel {

// Multiply-adds per second of one core with the vectors that the library uses, times two, of the
// numbers that products in `precision` multiply: the best of several runs of a loop that touches no
// memory. Measured once.
double PeakFlops(Precision precision);

}  // namespace savedmodel
