export function statmount(_id: bigint, _mask: number): void {}
