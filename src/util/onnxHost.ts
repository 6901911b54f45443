/** Where onnxruntime-web finds what it cannot bring along itself; the place that runs the engine provides it. */
export interface OnnxHost {
  /** The runtime's WebAssembly: its bytes, or where a browser fetches it. */
  wasm(): Promise<Uint8Array<ArrayBuffer> | string>;
  /** Puts a browser's globals in place before the runtime is loaded, those of WebGPU too where it may run there. */
  prepare?(gpu: boolean): Promise<void>;
}

let provided: OnnxHost | undefined;

export function provideOnnxHost(host: OnnxHost): void {
  provided = host;
}

/** Undefined where ONNX models cannot run. */
export function onnxHost(): OnnxHost | undefined {
  return provided;
}
