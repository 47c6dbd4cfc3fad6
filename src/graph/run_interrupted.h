// How a parallel loop leaves its kernel when the run is over.
#pragma once

namespace savedmodel {

// Thrown by OpContext::ParallelFor once the run is cancelled or late, caught by RunKernel: what the
// loop was to compute is not there, so the kernel must not go on.
struct RunInterrupted {};

}  // namespace savedmodel
