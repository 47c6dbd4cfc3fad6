// Memory that mapped files take, given back when what was read has been copied elsewhere.
#pragma once

#include <cstddef>

namespace savedmodel {

// [data, data + bytes) is a read-only mapping of a file, until RemoveMapping.
void AddMapping(const void* data, size_t bytes);
void RemoveMapping(const void* data);

// Gives back the pages of [data, data + bytes), where that is part of a mapping, and those that the
// system maps together with them: they are read from the file again if they are used again. Does
// nothing for other memory.
void ReleaseMappedPages(const void* data, size_t bytes);

}  // namespace savedmodel
