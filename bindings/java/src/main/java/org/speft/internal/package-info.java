/**
 * The C API as SWIG generates it, and what it calls. Not for use from outside: there are no checks, and addresses are
 * taken as they come.
 */
package org.speft.internal;
