/* Visibility of the public symbols.
 * Define SPEFT_STATIC when linking the static archive. */
#ifndef SPEFT_EXPORT_H
#define SPEFT_EXPORT_H

#if defined(SPEFT_STATIC)
#define SPEFT_API
#elif defined(_WIN32)
#if defined(SPEFT_BUILDING)
#define SPEFT_API __declspec(dllexport)
#else
#define SPEFT_API __declspec(dllimport)
#endif
#else
#define SPEFT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define SPEFT_BEGIN_DECLS extern "C" {
#define SPEFT_END_DECLS }
#else
#define SPEFT_BEGIN_DECLS
#define SPEFT_END_DECLS
#endif

#endif
