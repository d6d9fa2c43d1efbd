package org.speft;

/**
 * A backend that this release knows of.
 *
 * @param name {@code "cpu"}, {@code "cuda"}
 * @param available whether a context can be made on it
 * @param version its version, or {@code ""} when it could not be loaded
 * @param reason why it is not available, or {@code ""}
 */
public record BackendInfo(String name, boolean available, String version, String reason) {}
