export function fromFileUrl(url: URL | string): string;
