export function bold(text: string): string;
export function dim(text: string): string;
export function getColorEnabled(): boolean;
export function green(text: string): string;
export function red(text: string): string;
export function setColorEnabled(value: boolean): void;
export function yellow(text: string): string;
