/*
 * Prints the adapter that Dawn finds as one line of JSON, or fails. A process of its own: which drivers the Vulkan
 * loader sees is fixed by the environment at the first call, and a broken driver may take the process down.
 */
import { create } from 'webgpu';

const adapter = await create([]).requestAdapter();
const device = await adapter?.requestDevice();
if (!adapter || !device) process.exit(1);
const { vendor, architecture, device: name, description } = adapter.info;
const features = [...adapter.features].sort();
process.stdout.write(`${JSON.stringify({ vendor, architecture, device: name, description, features })}\n`);
process.exit(0);
