// The one thing of Node that client.ts uses, so that its types are not needed.
declare const process: { env: Record<string, string | undefined> };
