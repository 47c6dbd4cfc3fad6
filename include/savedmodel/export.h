/// Symbol visibility of the shared library.
#pragma once

#if defined(SAVEDMODEL_STATIC)
#define SAVEDMODEL_EXPORT
#elif defined(_WIN32)
#define SAVEDMODEL_EXPORT __declspec(dllexport)
#else
#define SAVEDMODEL_EXPORT [[gnu::visibility("default")]]
#endif
