package org.speft;

/** What a handle is closed with: it has to be reachable while a call is made, or the cleaner would close it first. */
abstract class Owner {
    abstract Handle handle();
}
