// The tools of `npm run check`: arguments of node. test/tidy/tools.test.ts runs these very lines on planted violations.
export const lint = ['node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'];
export const format = ['node_modules/oxfmt/bin/oxfmt', '--check'];
export const types = ['node_modules/typescript/lib/tsc.js', '-p', '.', '--noEmit', '--incremental', 'false'];
