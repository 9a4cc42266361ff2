/** The part of the library that is used; it brings no types of its own. */
declare module 'fs-native-extensions' {
  /** True when the whole file is now locked by this descriptor, false when another one holds the lock. */
  export function tryLock(descriptor: number): boolean;
}
