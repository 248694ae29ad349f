export declare const buildPage: (name: 'inspector' | 'playground') => Promise<void>
